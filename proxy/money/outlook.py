"""Budgets as people see them: how each limit stands, how fast it is being spent, and when it will be empty.

Rates are learnt from what calls are charged, in this process and since its start; runs have none, as they are short.
Every half minute each limit's pace is moved (`policies.forecast`). Nothing in here admits or refuses a call.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from heapq import nlargest
from typing import Final

from msgspec import Struct

from policies.accounts import Accounts
from policies.forecast import EVERY_S, Rate, forecast
from policies.ladder import Ladder, reached
from policies.limits import Instant, Standing
from policies.recent import Recent
from policies.refusal import amount
from policies.windows import iso
from proxy.clock import Clock
from proxy.pressure import share
from proxy.state.budget_report import BudgetList, BudgetRow
from proxy.tenancy import shown
from proxy.types import Charge, Per, Period, Unit

RUN: Final = "run:"
RATES_MAX: Final = 5_000
EXAMINED_MAX: Final = 5_000  # accounts looked at for one answer
STRIDE: Final = 200  # accounts between two breaths of the loop
FIGURES_EVERY_S: Final = 5.0
FOLD_S: Final = 60  # the shortest stretch that rates tell apart
PACE_EVERY: Final = round(EVERY_S / FIGURES_EVERY_S)

Key = tuple[str, Unit, Per]


class Query(Struct, frozen=True):
    """Which limits are asked for; None: any."""

    account: str | None = None  # `run:NAME`: of every tenant
    kind: str | None = None  # team, key, agent, run
    unit: str | None = None
    rows_max: int = 100


class Names(Struct, frozen=True):
    """Asked of the configuration in force."""

    configured: Callable[[], Iterable[str]]  # accounts that have limits before they have calls
    ladder: Callable[[str], Ladder]  # an account's


class Outlook:
    def __init__(self, accounts: Accounts, clock: Clock, names: Names) -> None:
        self._accounts = accounts
        self._clock = clock
        self._names = names
        self._rates: Recent[Key, Rate] = Recent(RATES_MAX, lambda: Rate(self._charged_wall))
        self._fresh: defaultdict[Period, int] = defaultdict(int)  # charged since the last fold
        self._charged_wall = self._fold_wall = 0.0

    def __repr__(self) -> str:
        return f"Outlook({len(self._rates)} rates, {self._accounts!r})"

    def charged(self, charges: tuple[Charge, ...]) -> None:
        wall, fresh = self._clock.wall(), self._fresh
        if wall >= self._fold_wall or len(fresh) >= RATES_MAX:
            self._fold()
            self._fold_wall = (wall // FOLD_S + 1) * FOLD_S
        self._charged_wall = wall
        for charge in charges:
            fresh[charge.period] += charge.amount

    def _fold(self) -> None:
        """Rates learn once in a while, not with each call. All of it was charged in the same stretch."""
        wall = self._charged_wall
        for period, spent in self._fresh.items():
            if not period.account.startswith(RUN):
                self._rates.get((period.account, period.unit, period.per)).add(spent, wall)
        self._fresh.clear()

    def answer(self, query: Query) -> BudgetList:
        """The most used limits first."""
        self._fold()
        at, ladder = self._at(), self._names.ladder
        names = self._chosen(query)
        standings = [
            standing
            for name in names[:EXAMINED_MAX]
            for standing in self._look(name, at)
            if query.unit in (None, standing.period.unit)
        ]
        rows = nlargest(query.rows_max, standings, key=_used)
        truncated = len(names) > EXAMINED_MAX or len(standings) > len(rows)
        return BudgetList(tuple(self._row(each, at.wall, ladder(each.period.account)) for each in rows), truncated)

    async def watch(self, show: Callable[[list[Standing]], None]) -> None:
        """Until it is cancelled. `show` is handed how all limits stand, every few seconds; looking at many accounts
        gives way to calls in between."""
        turn = 0
        while True:
            turn += 1
            standings: list[Standing] = []
            for count, name in enumerate(self._all()):
                at = self._at()
                if turn % PACE_EVERY == 0 and not name.startswith(RUN):
                    self._accounts.pace(name, at=at)
                standings += self._look(name, at)
                if count % STRIDE == STRIDE - 1:
                    await asyncio.sleep(0)
            show(standings)
            await asyncio.sleep(FIGURES_EVERY_S)

    def _look(self, name: str, at: Instant) -> tuple[Standing, ...]:
        return self._accounts.look(name, at=at) or self._accounts.state(name, at=at)

    def _all(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self._names.configured(), *self._accounts.names)))

    def _chosen(self, query: Query) -> tuple[str, ...]:
        if query.account is not None:
            runs = [name for name in self._accounts.names if name.startswith(RUN) and shown(name) == query.account]
            return tuple(runs) or (query.account,)
        return tuple(name for name in self._all() if query.kind in (None, name.partition(":")[0]))

    def _row(self, standing: Standing, wall: float, ladder: Ladder) -> BudgetRow:
        period, totals = standing.period, standing.totals
        unit = period.unit
        taken = totals.spent + totals.overrun + totals.unresolved + standing.held
        rate = self._rates.find((period.account, unit, period.per))
        an_hour = rate.an_hour(wall) if rate is not None else None
        ahead = forecast(
            limit=standing.limit, taken=taken, an_hour=an_hour or 0, wall=wall, resets_wall=standing.resets_wall
        )
        rungs = reached(ladder, standing.felt) if unit in ("usd", "tokens") else ()
        return BudgetRow(
            account=period.account,
            carrier=period.carrier,
            unit=unit,
            window=period.per,
            limit=amount(unit, standing.limit),
            spent=amount(unit, totals.spent),
            held=amount(unit, standing.held),
            overrun=amount(unit, totals.overrun),
            unresolved=amount(unit, totals.unresolved),
            left=amount(unit, standing.limit - taken),
            used=share(taken, standing.limit) / 1_000,
            resets_at=_iso(standing.resets_wall),
            rate_per_hour=None if an_hour is None else amount(unit, an_hour),
            exhausted_at=None if unit == "concurrency" else _iso(ahead.exhausted_wall),
            expected_at_end=None if ahead.expected_at_end is None else amount(unit, ahead.expected_at_end),
            pace=standing.pace / 10,
            rung=rungs[-1] if rungs else None,
        )

    def _at(self) -> Instant:
        return Instant(self._clock.now(), self._clock.wall())


def _used(standing: Standing) -> tuple[int, int]:
    totals = standing.totals
    taken = totals.spent + totals.overrun + totals.unresolved + standing.held
    return share(taken, standing.limit), taken


def _iso(wall: float | None) -> str | None:
    return None if wall is None else iso(wall)
