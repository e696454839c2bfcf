"""A simulated reply on its way: what is due when, and what it costs if somebody stops listening.

Generation does not wait for its reader: a step is over when its time has come. So a reply that is closed costs the
tokens that were due by then, as it does at an engine that stops when its client leaves. No task runs behind it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.providers.fields import Fields
from proxy.types import Endpoint

BILLS_MAX = 100_000


class Bill(Struct, frozen=True):
    """The tokens of one answer as the simulated vendor counts them."""

    model: str
    endpoint: Endpoint
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cancelled: bool = False  # the caller closed before the end
    cut: bool = False  # the upstream broke off itself


class Total(Struct, frozen=True):
    """The bill of one model, added up."""

    answers: int = 0
    cancelled: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def plus(self, bill: Bill) -> Total:
        return Total(
            self.answers + 1,
            self.cancelled + bill.cancelled,
            self.prompt_tokens + bill.prompt_tokens,
            self.cached_tokens + bill.cached_tokens,
            self.completion_tokens + bill.completion_tokens,
        )


class Books:
    """What the simulated vendor has to be paid for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._totals: dict[str, Total] = {}
        self.bills: deque[Bill] = deque(maxlen=BILLS_MAX)

    def now(self) -> float:
        return self._clock.now()

    def charge(self, bill: Bill) -> None:
        self.bills.append(bill)
        self._totals[bill.model] = self._totals.get(bill.model, Total()).plus(bill)

    def totals(self) -> dict[str, Total]:
        return dict(self._totals)


class Step(Struct, frozen=True):
    """Bytes that are due at `at`, when `tokens` have been generated."""

    at: float
    data: bytes
    tokens: int = 0


class SimulatedResponse:
    """A reply whose bytes come when they are due. What it costs in full is `bill`; None: nothing."""

    def __init__(self, books: Books, status: int, *, steps: list[Step], bill: Bill | None, cut: bool = False) -> None:
        self.status = status
        self.headers: Mapping[str, str] = Fields({})
        self.unread = 0
        self.whole_bill = bill  # as if it were heard to its end
        self._books = books
        self._steps = steps
        self._next = 0
        self._bill = bill
        self._cut = cut

    def __repr__(self) -> str:
        return f"SimulatedResponse({self.status}, {self._next} of {len(self._steps)} steps read)"

    async def read(self) -> bytes:
        if self._next < len(self._steps):
            await self._until(self._steps[self._next].at)
            start, self._next = self._next, self._next + 1  # a timer may be early by the clock's resolution
            self._next = self._due()
            return b"".join([step.data for step in self._steps[start : self._next]])
        self.close()
        if self._cut:
            raise ProxyError("upstream_broken", "The simulated upstream cut its reply short")
        return b""

    async def ready(self) -> None:
        """Waits for the end of a reply that comes in one piece; who gives up waiting closes it."""
        try:
            await self._until(self._steps[-1].at)
        except asyncio.CancelledError:
            self.close()
            raise
        self._steps = [replace(self._steps[-1], at=self._books.now())]

    def close(self) -> None:
        bill, self._bill = self._bill, None
        due, whole = self._due(), len(self._steps)
        self._next = whole
        if bill is None:
            return
        if self._cut or due < whole:
            tokens = self._steps[due - 1].tokens if due else 0
            bill = replace(bill, completion_tokens=tokens, cancelled=due < whole, cut=due == whole)
        self._books.charge(bill)

    def _due(self) -> int:
        """How many steps are over, whether they were read or not."""
        return max(self._next, bisect_right(self._steps, self._books.now(), key=_at))

    async def _until(self, at: float) -> None:
        left_s = at - self._books.now()
        if left_s > 0:
            await asyncio.sleep(left_s)


def _at(step: Step) -> float:
    return step.at
