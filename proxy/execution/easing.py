"""Where a call waits, before it is planned, for the pressure on its budget to ease: the rung `queue`, and the pace.

On the rung `queue` it waits until its deadline and is refused then. Of priority `batch`, where spending runs far ahead
of the calendar, it waits for half of its time at most and goes on. Those that wait for one account stand in line, in
order of arrival; the first of them looks again now and then, because what eases a budget (a new window, a top-up, calls
that end) may be another process's doing. The line is bounded. Known answers were looked for before, so a call that
comes here on the rung `cache_only` has none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from policies.forecast import held_back
from policies.ladder import Ladder, denied, only_known, waits
from policies.limits import Refusal
from policies.refusal import budget_exceeded
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.execution.purse import Purse
from proxy.execution.record import Record
from proxy.pressure import Pressure

LOOK_EVERY_S = 0.5
ANSWER_S = 0.1  # kept of the deadline, so that a refusal is this one and not the deadline's


def unheard(refusal: Refusal) -> None:
    """Nobody wants to know."""


class _Line:
    __slots__ = ("calls", "turn")

    def __init__(self) -> None:
        self.calls = 0
        self.turn = asyncio.Lock()  # passed on in order of arrival


class Easing:
    def __init__(self, clock: Clock, denied: Callable[[Refusal], None] = unheard) -> None:
        self.waiting = 0
        self._denied = denied
        self._clock = clock
        self._lines: dict[str, _Line] = {}  # by account

    def __repr__(self) -> str:
        return f"Easing({self.waiting} waiting for {sorted(self._lines)})"

    async def pressure(self, record: Record, ladder: Ladder, *, most: int) -> Pressure:
        """The pressure to plan with, where it counts. `most`: calls that may wait. Raises `budget_exceeded` for a call
        that may only have a known answer, or has waited in vain."""
        pressure = record.purse.pressure()
        if _hurries(record, ladder, pressure) and self.waiting < most:
            pressure = await self._held_back(record, ladder, _account(pressure))
        if only_known(ladder, pressure.felt):
            raise self._refusal(pressure, ladder)
        if not waits(ladder, pressure.felt):
            return pressure
        if self.waiting >= most:
            raise self._refusal(pressure, ladder)
        began, until, account = self._clock.now(), record.call.deadline - ANSWER_S, _account(pressure)
        pressure = await self._in_line(record.purse, lambda now: waits(ladder, now.felt), until, line=account)
        record.spent("queue", f"budget of {account}", began, self._clock.now())
        if waits(ladder, pressure.felt):
            raise self._refusal(pressure, ladder)
        return pressure

    async def _held_back(self, record: Record, ladder: Ladder, account: str) -> Pressure:
        """It is refused nothing: half of its time is kept for its answer."""
        began = self._clock.now()
        until = began + (record.call.deadline - began) / 2
        pressure = await self._in_line(
            record.purse, lambda now: _hurries(record, ladder, now), until, line=f"batch {account}"
        )
        now = self._clock.now()
        record.spent("queue", f"pace of {account}", began, now)
        record.decided(now, f"held back for {now - began:.3f} s, as the budget of {account} is spent ahead of its time")
        return pressure

    async def _in_line(self, purse: Purse, stands: Callable[[Pressure], bool], until: float, *, line: str) -> Pressure:
        """The pressure when it no longer stands in the way, or when the time is over."""
        entered = self._lines.setdefault(line, _Line())
        entered.calls += 1
        self.waiting += 1
        try:
            async with asyncio.timeout(max(0.0, until - self._clock.now())), entered.turn:
                while True:  # ends: by the answer, or when the time is over
                    pressure = purse.pressure()
                    if not stands(pressure):
                        return pressure
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            return purse.pressure()
        finally:
            self.waiting -= 1
            entered.calls -= 1
            if not entered.calls:
                del self._lines[line]

    def _refusal(self, pressure: Pressure, ladder: Ladder) -> ProxyError:
        refusal = denied(pressure, ladder, self._clock.wall())
        self._denied(refusal)
        return budget_exceeded(refusal)


def _hurries(record: Record, ladder: Ladder, pressure: Pressure) -> bool:
    """It can wait, its budget should, and no rung has a stronger word."""
    if not held_back(record.call.priority, pressure.pace):
        return False
    return not only_known(ladder, pressure.felt) and not waits(ladder, pressure.felt)


def _account(pressure: Pressure) -> str:
    assert pressure.period is not None  # there is no pressure without a limit
    return pressure.period.account
