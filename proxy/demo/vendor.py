"""A simulated provider with scripted faults in front of it, and the invoice of each of its answers.

It is a `Transport`: a refusal (429, 503) and a stall happen before the model has begun, so they cost nothing; whatever
gets through is billed by the simulated vendor itself, tokens that nobody waited for included. What the gate believes is
not asked here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from msgspec import Struct

from proxy.clock import Clock
from proxy.demo.story import Story, Window
from proxy.providers import simulated_wire as wire
from proxy.providers.base import UpstreamRequest, UpstreamResponse, unnoticed
from proxy.providers.fields import Fields
from proxy.providers.simulated import SIMULATED_PRICES, SimulatedTransport, Simulation
from proxy.providers.simulated_answer import Draw
from proxy.providers.simulated_reply import Bill

RETRY_COUNT = "x-stainless-retry-count"  # OpenAI's SDKs number their retries with it
RUN = "x-headgate-run"  # agents send it whoever is at the other end
REFUSAL_S = 0.02
STATUS: Mapping[str, int] = {"down": 503, "limited": 429}
PICOS_PER_NANO = 1_000


class Invoice(Struct, frozen=True):
    """One answer as its provider charges it. What it was for is the caller's word, and the gate does not say."""

    provider: str
    request_id: str
    bill: Bill
    run: str = ""
    retried: bool = False

    @property
    def broken(self) -> bool:
        return self.bill.cancelled or self.bill.cut

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
        self.refused = 0
        self.stalled = 0
        self._seed = simulation.seed
        self._simulated = SimulatedTransport(simulation, clock)
        self._story = story
        self._clock = clock
        self._opened_at: float | None = None
        self._calls = 0

    def __repr__(self) -> str:
        return f"Vendor({self.name}, {len(self.invoices)} invoices, {self.refused} refused, {self.stalled} stalled)"

    def opens(self) -> None:
        self._opened_at = self._clock.now()

    @property
    def window(self) -> Window | None:
        """What is the matter with it now."""
        if self._opened_at is None:
            return None
        return self._story.window(self.name, self._clock.now() - self._opened_at)

    async def send(self, request: UpstreamRequest, sent: Callable[[], None] = unnoticed) -> UpstreamResponse:
        sent()
        self._calls += 1
        draw = Draw(f"{self._seed}:{self.name}:{self._calls}".encode())
        window = self.window
        if window is not None and draw.share() < window.share:
            self.refused += 1
            await asyncio.sleep(REFUSAL_S)
            return Refusal(STATUS[window.kind])
        if draw.share() < self._story.stall_share:
            self.stalled += 1
            await asyncio.sleep(self._story.stall_s)
        response = await self._simulated.send(request)
        return Metered(self, response, request.headers)

    async def close(self) -> None:
        await self._simulated.close()

    def charge(self, request_id: str, told: Mapping[str, str]) -> None:
        """Called the moment an answer has ended: its bill is the last one written."""
        self.invoices[request_id] = Invoice(
            provider=self.name,
            request_id=request_id,
            bill=self._simulated.bill()[-1],
            run=told.get(RUN, ""),
            retried=told.get(RETRY_COUNT, "0") != "0",
        )


class Refusal:
    """A reply that says no and costs nothing. A limit says when it ends, a dead service does not."""

    def __init__(self, status: int) -> None:
        self.status = status
        hint = {"retry-after": "1"} if status == 429 else {}
        self.headers: Mapping[str, str] = Fields({"content-type": "application/json", **hint})
        self._left = wire.error(status, "SIMULATED: the provider is over its limit or down")

    async def read(self) -> bytes:
        data, self._left = self._left, b""
        return data

    def close(self) -> None:
        self._left = b""


class Metered:
    """A reply whose end, however it comes, becomes an invoice."""

    def __init__(self, vendor: Vendor, response: UpstreamResponse, told: Mapping[str, str]) -> None:
        self.status = response.status
        self.headers = response.headers
        self._vendor = vendor
        self._response = response
        self._told = told
        self._open = response.status == 200

    async def read(self) -> bytes:
        data = await self._response.read()
        if not data:
            self.close()
        return data

    def close(self) -> None:
        self._response.close()
        if self._open:
            self._open = False
            self._vendor.charge(self.headers["x-request-id"], self._told)
