"""A scripted upstream in memory with books of its own: what it sends when, and what it truly charges for it.

A `Sale` is one exchange as the vendor sees it, found by the call's id and the number of the request, so that each of
the gate's attempts can be held against it. A vendor that bills on charges the whole generation whatever happens to the
connection; another one what was due by the time it was closed. Text comes in pieces of four bytes, one token each, and
counts up, so that a gap, a repetition or a second generation shows in what a client has read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from msgspec import Struct, structs
from multidict import CIMultiDict

from proxy.errors import ProxyError
from proxy.providers.base import UpstreamRequest, UpstreamResponse, unnoticed
from proxy.providers.openai_compatible import OpenAICompatible
from proxy.providers.simulated import SimulatedTransport
from proxy.types import Call, Price, Target

CALL_HEADER = "x-sim-call"
PICOS_PER_NANO = 1_000
FOREVER_S = 1e6

End = Literal["clean", "cut", "silence"]


class Step(Struct, frozen=True):
    """`data` is sent at `at` seconds after the request; by then `tokens` have been generated."""

    at: float
    data: bytes
    tokens: int = 0


class Script(Struct, frozen=True):
    """One reply. `fault` instead of a head: the connection fails after `fault_after_s`."""

    kind: str
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    steps: tuple[Step, ...] = ()
    end: End = "clean"
    head_at: float = 0.0
    fault: Callable[[], ProxyError] | None = None
    prompt: int = 0
    cached: int = 0
    output: int = 0  # tokens of the whole generation
    honest: bool = True  # the usage it reports, if any, is what it charges
    billed: bool = True


class Sale:
    """One exchange in the vendor's books."""

    def __init__(self, call_id: str, number: int, vendor: str, asked_at: float) -> None:
        self.call_id = call_id
        self.number = number
        self.vendor = vendor
        self.asked_at = asked_at
        self.kind = "simulated"
        self.prompt = self.cached = self.output = 0
        self.honest = True
        self.exact = False  # one token an event of constant size: what was read can be told from bytes exactly
        self.seen = 0  # tokens that had been generated when the gate last read
        self.done = False  # [DONE] was read by the gate
        self.closed_at: float | None = None

    def __repr__(self) -> str:
        tokens = f"{self.prompt}-{self.cached}+{self.output}, seen {self.seen}"
        return f"Sale({self.kind} at {self.vendor}, number {self.number}: {tokens}, closed={self.closed_at})"

    def usd_nanos(self, price: Price) -> int:
        """The true bill, by arithmetic of its own."""
        if self.prompt == 0 and self.output == 0:
            return 0
        if price.long_context is not None and self.prompt > (price.long_context_above or 0):
            price = price.long_context
        picos = (self.prompt - self.cached) * price.input_uncached + self.cached * price.input_cached
        return -(-(picos + self.output * price.output + price.per_call) // PICOS_PER_NANO)


class Vendor(Protocol):
    sales: list[Sale]

    async def send(self, request: UpstreamRequest, sent: Callable[[], None] = unnoticed) -> UpstreamResponse: ...

    async def close(self) -> None: ...


class Tagged(OpenAICompatible):
    """The real provider, which also tells the vendor whose call it is."""

    def request(self, call: Call, target: Target, seconds_left: float) -> UpstreamRequest:
        request = super().request(call, target, seconds_left)
        return structs.replace(request, headers={**request.headers, CALL_HEADER: call.id})


class Numbered:
    """Numbers the requests of each call over all vendors: the n-th is the gate's n-th attempt."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def next(self, call_id: str) -> int:
        self._counts[call_id] = self._counts.get(call_id, 0) + 1
        return self._counts[call_id]


class ScriptedVendor:
    def __init__(
        self, name: str, numbered: Numbered, write: Callable[[UpstreamRequest], Script], *, bills_on: bool
    ) -> None:
        self.name = name
        self.sales: list[Sale] = []
        self.bills_on = bills_on
        self._numbered = numbered
        self._write = write

    async def send(self, request: UpstreamRequest, sent: Callable[[], None] = unnoticed) -> UpstreamResponse:
        sent()
        call_id = request.headers[CALL_HEADER]
        began = asyncio.get_running_loop().time()
        sale = Sale(call_id, self._numbered.next(call_id), self.name, began)
        self.sales.append(sale)
        script = self._write(request)
        sale.kind, sale.honest = script.kind, script.honest
        sale.exact = ("Content-Type", "text/event-stream") in script.headers
        response = ScriptedResponse(script, sale, began, bills_on=self.bills_on)
        try:
            await asyncio.sleep(script.head_at)
        except asyncio.CancelledError:
            response.close()
            raise
        if script.fault is not None:
            response.close()
            raise script.fault()
        return response

    async def close(self) -> None:
        """Holds nothing."""


class ScriptedResponse:
    def __init__(self, script: Script, sale: Sale, began: float, *, bills_on: bool) -> None:
        self.status = script.status
        self.headers: Mapping[str, str] = CIMultiDict(script.headers)
        self.unread = 0
        self._script = script
        self._sale = sale
        self._began = began
        self._next = 0
        self._bills_on = bills_on

    async def read(self) -> bytes:
        steps = self._script.steps
        if self._sale.closed_at is not None:
            raise ProxyError("upstream_broken", "read after close")
        if self._next < len(steps):
            step = steps[self._next]
            await self._until(step.at)
            self._next += 1
            self._sale.seen = step.tokens
            self._sale.done = self._sale.done or b"data: [DONE]" in b"".join([s.data for s in steps[: self._next]])
            return step.data
        if self._script.end == "silence":
            await asyncio.sleep(FOREVER_S)
        self.close()
        if self._script.end == "cut":
            raise ProxyError("upstream_broken", "the scripted upstream cut its reply")
        return b""

    def close(self) -> None:
        sale, script = self._sale, self._script
        if sale.closed_at is not None:
            return
        now = asyncio.get_running_loop().time()
        sale.closed_at = now
        if not script.billed:
            return
        due = max((step.tokens for step in script.steps if self._began + step.at <= now), default=0)
        sale.prompt, sale.cached = script.prompt, script.cached
        sale.output = script.output if self._bills_on else max(due, sale.seen)

    async def _until(self, at: float) -> None:
        left = self._began + at - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(left)


class SimulatedVendor:
    """The gate's own simulated upstream, its bills told apart by exchange."""

    def __init__(self, name: str, numbered: Numbered, transport: SimulatedTransport) -> None:
        self.name = name
        self.sales: list[Sale] = []
        self._numbered = numbered
        self._transport = transport
        self._booked = 0

    async def send(self, request: UpstreamRequest, sent: Callable[[], None] = unnoticed) -> UpstreamResponse:
        sent()
        call_id = request.headers[CALL_HEADER]
        sale = Sale(call_id, self._numbered.next(call_id), self.name, asyncio.get_running_loop().time())
        self.sales.append(sale)
        try:
            response = await self._transport.send(request)
        except BaseException:
            self.book(sale, closed=True)
            raise
        self.book(sale, closed=False)
        return _Watched(response, sale, self)

    async def close(self) -> None:
        await self._transport.close()

    def book(self, sale: Sale, *, closed: bool) -> None:
        """Nothing of the simulation awaits between a charge and this, so what is new is this exchange's."""
        bills = self._transport.bill()
        for bill in bills[self._booked :]:
            sale.prompt, sale.cached, sale.output = bill.prompt_tokens, bill.cached_tokens, bill.completion_tokens
        self._booked = len(bills)
        if closed and sale.closed_at is None:
            sale.closed_at = asyncio.get_running_loop().time()


class _Watched:
    def __init__(self, inner: UpstreamResponse, sale: Sale, vendor: SimulatedVendor) -> None:
        self.status = inner.status
        self.headers = inner.headers
        self.unread = 0
        self._inner = inner
        self._sale = sale
        self._vendor = vendor
        self._tail = b""

    async def read(self) -> bytes:
        try:
            data = await self._inner.read()
        except BaseException as error:
            self._vendor.book(self._sale, closed=isinstance(error, ProxyError))
            raise
        self._tail = (self._tail + data)[-64:]
        self._sale.done = self._sale.done or b"data: [DONE]" in self._tail
        self._vendor.book(self._sale, closed=not data)
        return data

    def close(self) -> None:
        self._inner.close()
        self._vendor.book(self._sale, closed=True)
