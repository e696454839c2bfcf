"""A simulated provider with scripted faults in front of it, and the invoice of each of its answers.

It is a `Transport`. A refusal (500) happens before the model has begun, so it costs nothing. A silence comes after the
head: the answer is made, and does not come out. Whatever has begun is finished and billed, whoever has stopped
listening; many vendors do so, and of what they report to the end nobody has to guess. What the gate believes is not
asked here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Literal

from msgspec import Struct

from proxy.clock import Clock
from proxy.demo.story import Story, Window
from proxy.providers import simulated_wire as wire
from proxy.providers.base import UpstreamRequest, unnoticed
from proxy.providers.fields import Fields
from proxy.providers.simulated import SIMULATED_PRICES, SimulatedTransport, Simulation
from proxy.providers.simulated_answer import Draw
from proxy.providers.simulated_reply import Bill, SimulatedResponse

RETRY_COUNT = "x-stainless-retry-count"  # OpenAI's SDKs number their retries with it
RUN = "x-headgate-run"  # agents send it whoever is at the other end
REFUSAL_S = 0.02
REFUSED = 500
PICOS_PER_NANO = 1_000
GREETING = b": SIMULATED\n\n"  # a comment of the stream: its head is out before there is anything to say

Cause = Literal["first", "retry", "hedge"]


class Invoice(Struct, frozen=True):
    """One answer as its provider charges it. What it was for is the caller's word, and the gate does not say."""

    provider: str
    request_id: str
    bill: Bill
    asked_at: float  # an instant of the clock
    broken: bool = False  # nobody heard its end
    run: str = ""
    cause: Cause = "first"

    @property
    def usd_nanos(self) -> int:
        """By the provider's public prices, not by the gate's price book: the two are to be compared."""
        bill, price = self.bill, SIMULATED_PRICES[self.bill.model]
        picos = (bill.prompt_tokens - bill.cached_tokens) * price.input_uncached
        picos += bill.cached_tokens * price.input_cached + bill.completion_tokens * price.output
        return -(-picos // PICOS_PER_NANO)


class Vendor:
    """One provider as one column of the demo knows it; `opens` starts its share of the story."""

    def __init__(self, name: str, simulation: Simulation, *, story: Story, clock: Clock) -> None:
        self.name = name
        self.invoices: dict[str, Invoice] = {}
        self.asked_at: list[float] = []  # every call, refused ones too
        self.refused = 0
        self.silent = 0
        self._seed = simulation.seed
        self._simulated = SimulatedTransport(simulation, clock)
        self._story = story
        self._clock = clock
        self._opened_at: float | None = None

    def __repr__(self) -> str:
        return f"Vendor({self.name}, {len(self.invoices)} invoices, {self.refused} refused, {self.silent} silent)"

    def opens(self) -> None:
        self._opened_at = self._clock.now()

    @property
    def window(self) -> Window | None:
        """What is the matter with it now."""
        if self._opened_at is None:
            return None
        return self._story.window(self.name, self._clock.now() - self._opened_at)

    @property
    def status(self) -> int:
        """What it says to who asks whether it is well: a slow one does not know that it is."""
        window = self.window
        return REFUSED if window is not None and window.kind == "down" else 200

    async def send(self, request: UpstreamRequest, sent: Callable[[], None] = unnoticed) -> Metered | Refusal:
        sent()
        asked_at = self._clock.now()
        self.asked_at.append(asked_at)
        draw = Draw(f"{self._seed}:{self.name}:{len(self.asked_at)}".encode())
        window = self.window
        hit = window is not None and draw.share() < window.share
        if hit and window is not None and window.kind == "down":
            self.refused += 1
            await asyncio.sleep(REFUSAL_S)
            return Refusal()
        self.silent += hit
        response = await self._simulated.send(request)
        silence_s = self._story.silence_s if hit else 0.0
        return Metered(self, response, told=request.headers, asked_at=asked_at, silence_s=silence_s)

    async def close(self) -> None:
        await self._simulated.close()

    def charge(self, invoice: Invoice) -> None:
        self.invoices[invoice.request_id] = invoice


class Refusal:
    """A reply that says no and costs nothing."""

    def __init__(self) -> None:
        self.status = REFUSED
        self.headers: Mapping[str, str] = Fields({"content-type": "application/json"})
        self.unread = 0
        self._left = wire.error(REFUSED, "SIMULATED: the provider is down")

    async def read(self) -> bytes:
        data, self._left = self._left, b""
        return data

    def close(self) -> None:
        self._left = b""


class Metered:
    """A reply whose end, however it comes, becomes an invoice for all of it."""

    def __init__(
        self,
        vendor: Vendor,
        response: SimulatedResponse,
        *,
        told: Mapping[str, str],
        asked_at: float,
        silence_s: float,
    ) -> None:
        self.status = response.status
        self.headers = response.headers
        self.unread = 0
        self._greeting = GREETING if response.status == 200 else b""
        self._silence_s = silence_s  # after the greeting
        self._vendor = vendor
        self._response = response
        self._told = told
        self._asked_at = asked_at
        self._bill = response.whole_bill  # None once it is charged

    async def read(self) -> bytes:
        if self._greeting:
            greeting, self._greeting = self._greeting, b""
            return greeting
        silence_s, self._silence_s = self._silence_s, 0.0
        if silence_s:
            await asyncio.sleep(silence_s)
        data = await self._response.read()
        if not data:
            self._charge(broken=False)
        return data

    def close(self) -> None:
        self._response.close()
        self._charge(broken=True)

    def _charge(self, *, broken: bool) -> None:
        bill, self._bill = self._bill, None
        if bill is None:
            return
        self._vendor.charge(
            Invoice(
                provider=self._vendor.name,
                request_id=self.headers["x-request-id"],
                bill=bill,
                asked_at=self._asked_at,
                broken=broken,
                run=self._told.get(RUN, ""),
                cause="first" if self._told.get(RETRY_COUNT, "0") == "0" else "retry",
            )
        )
