"""The rung `queue` of the ladder: a call waits here, before it is planned, until the pressure on its budget has eased.

Those that wait for one account stand in line, in order of arrival; the first of them looks again now and then, because
what eases a budget (a new window, a top-up, calls that end) may be another process's doing. A wait ends at the call's
deadline at the latest, and the line is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from policies.ladder import Ladder, in_vain, waits
from policies.limits import Refusal
from policies.refusal import budget_exceeded
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.execution.purse import Purse
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

    async def pressure(self, purse: Purse, ladder: Ladder, *, deadline: float, waiting_max: int) -> Pressure:
        """The pressure to plan with. Raises `budget_exceeded` when a call that must wait has waited in vain."""
        pressure = purse.pressure()
        if not waits(ladder, pressure.felt):
            return pressure
        if self.waiting >= waiting_max:
            raise self._refusal(pressure)
        self.waiting += 1
        try:
            return await self._in_line(purse, ladder, deadline - ANSWER_S, account=_account(pressure))
        finally:
            self.waiting -= 1

    async def _in_line(self, purse: Purse, ladder: Ladder, until: float, *, account: str) -> Pressure:
        line = self._lines.setdefault(account, _Line())
        line.calls += 1
        try:
            async with asyncio.timeout(max(0.0, until - self._clock.now())), line.turn:
                while True:  # ends: by the answer, or when the time is over
                    pressure = purse.pressure()
                    if not waits(ladder, pressure.felt):
                        return pressure
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            raise self._refusal(purse.pressure()) from None
        finally:
            line.calls -= 1
            if not line.calls:
                del self._lines[account]

    def _refusal(self, pressure: Pressure) -> ProxyError:
        refusal = in_vain(pressure, self._clock.wall())
        self._denied(refusal)
        return budget_exceeded(refusal)


def _account(pressure: Pressure) -> str:
    assert pressure.period is not None  # there is no pressure without a limit
    return pressure.period.account
