"""The arithmetic of one limit on one account: what is spent, overrun, unresolved and held in its window.

With limit C, spent S, overrun V, unresolved U and pending P, a hold of R fits when S + V + U + P + R <= C. What a call
costs above its hold goes to S while there is room and to V after that; V blocks until the window resets or someone tops
up. A balance is of one window: a hold keeps the balances it was taken in, so a closed one lives as long as its holds.
"""

from __future__ import annotations

from math import inf

from policies.forecast import pace_in
from policies.limits import Crossing, Limit, Reason, Shortfall, Standing, Totals, index, name_of
from policies.windows import window
from proxy.types import Period

PERCENTS = (50, 80, 100)
PLAY = 50  # thousandths


class Balance:
    """One limit in one window. What is spent is what is used, but for the overrun and the unresolved part of it."""

    __slots__ = (
        "_crossed",
        "_tolerance",
        "felt",
        "forgiven",
        "granted",
        "index",
        "limit",
        "mark",
        "name",
        "overrun",
        "pace",
        "pending",
        "period",
        "resets_wall",
        "unresolved",
        "used",
    )

    def __init__(self, period: Period, limit: Limit, *, resets_wall: float, tolerance: int) -> None:
        self.period = period
        self.name = name_of(period)
        self.resets_wall = resets_wall
        self.used = self.overrun = self.unresolved = self.pending = 0
        self.granted = self.forgiven = 0
        self.felt = 0  # thousandths, as `press` left it
        self.pace = 0  # tenths, as `policies.forecast` says
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
    def free(self) -> int:
        """Below zero after an overrun, or when the limit was lowered."""
        return self.limit - self.used - self.pending

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
        self.limit = limit.amount + self.granted
        self._set_mark()

    def admits(self, need: int) -> bool:
        """A limit stands in the way of what it is asked for, an overrun in the way of everything."""
        return not self.blocked and (not need or need <= self.free)

    def press(self) -> int:
        """What the ladder goes by, in thousandths: it rises at once with what is taken and falls only once that has
        fallen `PLAY` below it. So a rung is left that far below where it was entered, whatever the rungs are."""
        taken = (self.used + self.pending) * 1_000 // self.limit if self.limit > 0 else 1_000
        if not taken <= self.felt <= taken + PLAY:
            self.felt = taken if self.felt < taken else taken + PLAY
        return self.felt

    def post(self, held: int, used: int) -> int:
        """Ends a hold; returns what of `used` neither the hold nor the rest of the limit could pay."""
        self.pending -= held
        self.used += used
        return self._overrun_of(used - held) if used > held else 0

    def adjust(self, difference: int) -> int:
        """Books what became known later; a refund takes back the overrun first. Returns what was overrun."""
        if difference < 0:
            refund = max(difference, self.unresolved - self.used)
            self.used += refund
            self.overrun = max(0, self.overrun + refund)
            self.forgiven = min(self.forgiven, self.overrun)
            return 0
        self.used += difference
        return self._overrun_of(difference)

    def resolve(self, unresolved: int, spent: int) -> int:
        """What a crash had left open turns out to be `spent`. Returns what was overrun."""
        released = min(unresolved, self.unresolved)
        self.unresolved -= released
        self.used += spent - released
        return self._overrun_of(spent - released) if spent > released else 0

    def top_up(self, amount: int) -> None:
        self.granted += amount
        self.forgiven = self.overrun
        self.felt = 0  # whoever tops up wants the ladder left at once
        self.limit += amount
        self._set_mark()

    def restore(self, totals: Totals) -> None:
        """What the ledger knows of this window. Thresholds below it were told before, and are not told again."""
        self.overrun, self.unresolved = totals.overrun, totals.unresolved
        self.used = totals.spent + totals.overrun + totals.unresolved
        self.limit += totals.granted - self.granted
        self.granted, self.forgiven = totals.granted, totals.forgiven
        self._set_mark()
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

    def _overrun_of(self, excess: int) -> int:
        """The part of an excess, already counted as used, for which there was no room."""
        unpaid = max(0, min(excess, -self.free))
        self.overrun += unpaid
        return unpaid

    def _set_mark(self) -> None:
        ended = self._crossed == len(PERCENTS) or not self.limit
        self.mark: float = inf if ended else -(-self.limit * PERCENTS[self._crossed] // 100)


class Meter:
    """One limit on one account, window after window."""

    __slots__ = ("_account", "_carrier", "_limit", "_tolerance", "balance")

    def __init__(self, account: str, carrier: str, limit: Limit, *, tolerance: int, wall: float) -> None:
        self._account = account
        self._carrier = carrier
        self._limit = limit
        self._tolerance = tolerance if limit.unit == "usd" else 0
        opened = window(limit.per, wall, limit.time_zone)
        self.balance = self._opened(opened.id, inf if opened.resets_wall is None else opened.resets_wall)

    def __repr__(self) -> str:
        return f"Meter({self._carrier}, {self.balance!r})"

    def at(self, wall: float) -> Balance:
        """The balance of the window that is open; a clock set back opens nothing again."""
        return self.balance if wall < self.balance.resets_wall else self.roll(wall)

    def set_pace(self, wall: float) -> None:
        balance, limit = self.at(wall), self._limit
        balance.pace = pace_in(
            balance.pace, used=balance.used, limit=balance.limit, per=limit.per, time_zone=limit.time_zone, wall=wall
        )

    def change(self, limit: Limit) -> None:
        self._limit = limit
        self.balance.change(limit)

    def restore(self, id: int, totals: Totals) -> None:
        """A window that has closed since is of no account; one yet to come (the clock was set back) is the open one."""
        if id < self.balance.period.id:
            return
        if id > self.balance.period.id:
            self.balance = self._opened(id, self.balance.resets_wall)
        self.balance.restore(totals)

    def roll(self, wall: float) -> Balance:
        opened = window(self._limit.per, wall, self._limit.time_zone)
        resets = inf if opened.resets_wall is None else opened.resets_wall
        if opened.id > self.balance.period.id:
            self.balance = self._opened(opened.id, resets)
        else:  # another time zone, or a window restored from ahead of the clock: it goes on until its id is passed
            self.balance.resets_wall = resets
        return self.balance

    def _opened(self, id: int, resets_wall: float) -> Balance:
        limit = self._limit
        period = Period(self._account, limit.unit, limit.per, id, self._carrier)
        return Balance(period, limit, resets_wall=resets_wall, tolerance=self._tolerance)
