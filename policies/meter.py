"""The arithmetic of one limit on one account: what is spent, overrun, unresolved and held in its window.

With limit C, spent S, overrun V, unresolved U and pending P, a hold of R fits when S + V + U + P + R <= C. What a call
costs above its hold goes to S while there is room and to V after that; V blocks until the window resets or someone tops
up. A balance is of one window: a hold keeps the balances it was taken in, so a closed one lives as long as its holds.
"""

from __future__ import annotations

from math import inf

from policies.forecast import pace_in
from policies.limits import Crossing, Limit, Reason, Shortfall, Standing, Totals, index, name_of
from policies.windows import Window, window
from proxy.pressure import FIRST
from proxy.types import Period

PERCENTS = (50, 80, 100)
PLAY = 50  # thousandths
NEVER = 2**63  # an integer, as what is used is: compared with infinity, it would be made a float each time


class Balance:
    """One limit in one window. What is spent is what is used, but for the overrun and the unresolved part of it."""

    __slots__ = (
        "_crossed",
        "_tolerance",
        "felt",
        "forgiven",
        "free",
        "granted",
        "index",
        "limit",
        "mark",
        "name",
        "overrun",
        "pace",
        "period",
        "plenty",
        "resets_wall",
        "unresolved",
        "used",
    )

    def __init__(self, period: Period, limit: Limit, *, resets_wall: float, tolerance: int) -> None:
        self.period = period
        self.name = name_of(period)
        self.resets_wall = resets_wall
        self.used = self.overrun = self.unresolved = 0
        self.limit = self.granted = self.forgiven = 0
        self.free = 0  # neither used nor held; below zero after an overrun, or when the limit was lowered
        self.felt = 0  # thousandths, as `press` left it
        self.pace = 0  # tenths, as `policies.forecast` says
        self.plenty = 0  # with more free than this, there is no pace, and `press` is below `FIRST`
        self._tolerance = tolerance
        self._crossed = 0  # how many of PERCENTS have been told
        self.change(limit)

    def __repr__(self) -> str:
        figures = f"{self.spent} + {self.overrun} + {self.unresolved} + {self.pending} of {self.limit}"
        return f"Balance({self.period.account}, {self.period.unit} per {self.period.per} {self.period.id}: {figures})"

    @property
    def spent(self) -> int:
        return self.used - self.overrun - self.unresolved

    @property
    def pending(self) -> int:
        """What live holds keep back."""
        return self.limit - self.used - self.free

    @property
    def blocked(self) -> bool:
        return self.overrun > self.forgiven + self._tolerance

    @property
    def totals(self) -> Totals:
        return Totals(
            spent=self.spent,
            overrun=self.overrun,
            unresolved=self.unresolved,
            granted=self.granted,
            forgiven=self.forgiven,
        )

    def change(self, limit: Limit) -> None:
        """Another limit for the same window; what was counted stays."""
        self.index = index(limit)
        self._set_limit(limit.amount + self.granted)

    def admits(self, need: int) -> bool:
        """A limit stands in the way of what it is asked for, an overrun in the way of everything."""
        return not self.blocked and (not need or need <= self.free)

    def press(self) -> int:
        """What the ladder goes by, in thousandths: it rises at once with what is taken and falls only once that has
        fallen `PLAY` below it. So a rung is left that far below where it was entered, whatever the rungs are."""
        taken = (self.used + self.pending) * 1_000 // self.limit if self.limit > 0 else 1_000
        if not taken <= self.felt <= taken + PLAY:
            self.felt = taken if self.felt < taken else taken + PLAY
            self._set_plenty()
        return self.felt

    def set_pace(self, pace: int) -> None:
        self.pace = pace
        self._set_plenty()

    def post(self, held: int, used: int) -> int:
        """Ends a hold; returns what of `used` neither the hold nor the rest of the limit could pay."""
        self.used += used
        self.free += held - used
        return self.overrun_of(used - held) if used > held else 0

    def adjust(self, difference: int) -> int:
        """Books what became known later; a refund takes back the overrun first. Returns what was overrun."""
        if difference < 0:
            refund = max(difference, self.unresolved - self.used)
            self._use(refund)
            self.overrun = max(0, self.overrun + refund)
            self.forgiven = min(self.forgiven, self.overrun)
            return 0
        self._use(difference)
        return self.overrun_of(difference)

    def resolve(self, unresolved: int, spent: int) -> int:
        """What a crash had left open turns out to be `spent`. Returns what was overrun."""
        released = min(unresolved, self.unresolved)
        self.unresolved -= released
        self._use(spent - released)
        return self.overrun_of(spent - released) if spent > released else 0

    def top_up(self, amount: int) -> None:
        self.granted += amount
        self.forgiven = self.overrun
        self.felt = 0  # whoever tops up wants the ladder left at once
        self._set_limit(self.limit + amount)

    def restore(self, totals: Totals) -> None:
        """What the ledger knows of this window. Thresholds below it were told before, and are not told again."""
        self.overrun, self.unresolved = totals.overrun, totals.unresolved
        self._use(totals.spent + totals.overrun + totals.unresolved - self.used)
        self._set_limit(self.limit + totals.granted - self.granted)
        self.granted, self.forgiven = totals.granted, totals.forgiven
        self.crossings()

    def crossings(self) -> tuple[Crossing, ...]:
        """The thresholds reached since it was last asked; there are some once `used` is at the mark."""
        first = self._crossed
        while self.used >= self.mark:
            self._crossed += 1
            self._set_mark()
        return tuple(Crossing(self.period, percent) for percent in PERCENTS[first : self._crossed])

    def shortfall(self, more: int, own: int = 0) -> Shortfall:
        """Why `more` does not fit; `own` is what the same call holds already, which is not in its own way."""
        need = own + more
        return Shortfall(
            period=self.period,
            limit=self.limit,
            spent=self.used,
            held=self.pending - own,
            needed=need,
            resets_wall=None if self.resets_wall == inf else self.resets_wall,
            reason=self._reason(need),
        )

    def standing(self) -> Standing:
        resets = None if self.resets_wall == inf else self.resets_wall
        return Standing(
            self.period,
            limit=self.limit,
            totals=self.totals,
            held=self.pending,
            resets_wall=resets,
            pace=self.pace,
            felt=self.press(),
        )

    def _reason(self, need: int) -> Reason:
        if self.used - self.overrun > self.limit:  # no posting can do that
            return "lowered"
        if self.blocked:
            return "overrun"
        if need > self.limit:
            return "floor"
        return "held" if self.used + need <= self.limit else "spent"

    def overrun_of(self, excess: int) -> int:
        """The part of an excess, already counted as used, for which there was no room."""
        unpaid = max(0, min(excess, -self.free))
        self.overrun += unpaid
        return unpaid

    def _use(self, amount: int) -> None:
        self.used += amount
        self.free -= amount

    def _set_limit(self, amount: int) -> None:
        self.free += amount - self.limit
        self.limit = amount
        self._set_plenty()
        self._set_mark()

    def _set_plenty(self) -> None:
        pressing = self.felt >= FIRST or self.pace
        self.plenty = NEVER if pressing else self.limit - self.limit * (FIRST - PLAY) // 1_000

    def _set_mark(self) -> None:
        ended = self._crossed == len(PERCENTS) or not self.limit
        self.mark = NEVER if ended else -(-self.limit * PERCENTS[self._crossed] // 100)


class Common:
    """What all meters of one owner share."""

    __slots__ = ("tolerance", "turns")

    def __init__(self, tolerance: int = 0) -> None:
        self.tolerance = tolerance  # nano-dollars that a limit in money may be overrun by
        self.turns = 0  # how often a window has followed another: who remembers open ones looks whether it still does

    def __repr__(self) -> str:
        return f"Common(tolerance={self.tolerance}, turns={self.turns})"


class Meter:
    """One limit on one account, window after window."""

    __slots__ = ("_account", "_carrier", "_common", "_limit", "balance")

    def __init__(self, account: str, carrier: str, limit: Limit, *, common: Common, wall: float) -> None:
        self._account = account
        self._carrier = carrier
        self._common = common
        self._limit = limit
        opened = window(limit.per, wall, limit.time_zone)
        self.balance = self._opened(opened.id, _end(opened))

    def __repr__(self) -> str:
        return f"Meter({self._carrier}, {self.balance!r})"

    def at(self, wall: float) -> Balance:
        """The balance of the window that is open; a clock set back opens nothing again."""
        return self.balance if wall < self.balance.resets_wall else self.roll(wall)

    def set_pace(self, wall: float) -> None:
        balance, limit = self.at(wall), self._limit
        pace, used = balance.pace, balance.used
        per, time_zone = limit.per, limit.time_zone
        balance.set_pace(pace_in(pace, used=used, limit=balance.limit, per=per, time_zone=time_zone, wall=wall))

    def change(self, limit: Limit) -> None:
        self._limit = limit
        self.balance.change(limit)

    def restore(self, id: int, totals: Totals) -> None:
        """A window that has closed since is of no account; one yet to come (the clock was set back) is the open one."""
        if id < self.balance.period.id:
            return
        if id > self.balance.period.id:
            self._common.turns += 1
            self.balance = self._opened(id, self.balance.resets_wall)
        self.balance.restore(totals)

    def roll(self, wall: float) -> Balance:
        opened = window(self._limit.per, wall, self._limit.time_zone)
        self._common.turns += 1
        if opened.id > self.balance.period.id:
            self.balance = self._opened(opened.id, _end(opened))
        else:  # another time zone, or a window restored from ahead of the clock: it goes on until its id is passed
            self.balance.resets_wall = _end(opened)
        return self.balance

    def _opened(self, id: int, resets_wall: float) -> Balance:
        limit = self._limit
        period = Period(self._account, limit.unit, limit.per, id, self._carrier)
        tolerance = self._common.tolerance if limit.unit == "usd" else 0
        return Balance(period, limit, resets_wall=resets_wall, tolerance=tolerance)


def _end(window: Window) -> float:
    return inf if window.resets_wall is None else float(window.resets_wall)
