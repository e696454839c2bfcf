"""Which accounts exist, and which of their limits a path of accounts meets.

An account exists only while it has a limit; a run has those its ancestors set `per: run` besides its own. Paths are
resolved once and remembered. Names of runs and agents come from clients, so accounts are forgotten, the longest unused
first and never one with a hold: when nothing is counted in their open windows, or as runs that have been idle for
`idle_s`. A run that the bound on runs pushes out earlier starts again at nothing when it returns; that is counted. A
limit that new rules take away keeps its count aside: it goes on where it was if later ones bring it back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import Final

from msgspec import Struct

from policies.chart import RUN, Account, Chart, Key
from policies.limits import NO_DEMANDS, Instant, Limit, Rulebook, Totals, demands, tightest
from policies.meter import Balance, Common, Meter
from proxy.types import Period

ASIDE_MAX: Final = 10_000  # limits that the rules took away; the longest gone is forgotten first
CHARTS_MAX: Final = 50_000  # what is remembered of paths; forgetting them loses no money
EXAMINED_MAX: Final = 16  # accounts looked at to make room for one
KEPT_LEAST: Final = 256  # so many that the accounts of the path being resolved are never among those


class Bounds(Struct, frozen=True):
    """How many accounts are kept. The second is soft: an account that has something to lose is not forgotten."""

    runs_max: int = 50_000  # about 1.5 KB each, with two limits
    others_max: int = 50_000
    idle_s: float = 6 * 3_600.0

    def __post_init__(self) -> None:
        if min(self.runs_max, self.others_max) < KEPT_LEAST:
            raise ValueError(f"At least {KEPT_LEAST} accounts of each kind must be kept.")


class Roster:
    def __init__(self, rules: Rulebook, bounds: Bounds, *, tolerance: int) -> None:
        self._rules = rules
        self._bounds = bounds
        self._common = Common(tolerance)
        self._charts: dict[tuple[str, ...], Chart] = {}
        self._unlimited = Chart(demands=NO_DEMANDS)
        self._runs: OrderedDict[str, Account] = OrderedDict()
        self._others: OrderedDict[str, Account] = OrderedDict()
        self._aside: OrderedDict[tuple[str, Key], Meter] = OrderedDict()
        self._gone = 0  # accounts that are no longer kept: who remembers some looks whether they still are
        self.dropped_early = 0
        self.forgotten = 0

    def __repr__(self) -> str:
        return f"Roster({len(self._runs)} runs, {len(self._others)} others, {len(self._charts)} paths)"

    def __len__(self) -> int:
        return len(self._runs) + len(self._others)

    @property
    def names(self) -> tuple[str, ...]:
        return (*self._others, *reversed(self._runs))

    def meters(self, name: str) -> tuple[Meter, ...]:
        """Those there are; none is opened."""
        account = self._shelf(name).get(name)
        return tuple(account.meters.values()) if account else ()

    def chart(self, path: tuple[str, ...], at: Instant) -> Chart:
        chart = self._charts.get(path)
        if chart is None:
            return self._resolve(path, at)
        if chart.seen_gone != self._gone:
            if any(account.gone for account in chart.accounts):
                return self._resolve(path, at)
            chart.seen_gone = self._gone
        if at.wall >= chart.until or chart.turns != self._common.turns:
            chart.open(at.wall, self._common)
        return chart

    def used(self, runs: tuple[Account, ...], now: float) -> None:
        for run in runs:
            run.used_at = now
            self._runs.move_to_end(run.name)

    def known(self, name: str, at: Instant) -> tuple[Balance, ...]:
        """The open windows of one account; of limits `per: run` from above, those that a call has met."""
        self.chart((name,), at)
        account = self._shelf(name).get(name)
        return tuple([meter.at(at.wall) for meter in account.meters.values()]) if account else ()

    def replace(self, rules: Rulebook) -> None:
        """What was counted stays wherever a limit of the same unit and window remains."""
        self._rules = rules
        self._charts.clear()
        for account in [*self._runs.values(), *self._others.values()]:
            self._revise(account)

    def dismiss(self, path: tuple[str, ...], at: Instant) -> None:
        """The path was only asked about: accounts of it in which nothing is counted are as if they had never been."""
        for name in path:
            shelf = self._shelf(name)
            account = shelf.get(name)
            if account is not None and not account.busy and account.blank(at.wall):
                self._drop(account)

    def restore(self, period: Period, totals: Totals, at: Instant) -> bool:
        """False: the rules no longer have that limit."""
        limit = tightest(self._rules.limits(period.carrier)).get((period.unit, period.per))
        if limit is None:
            return False
        account = self._open(period.account, at)
        self._meter(account, period.carrier, limit, wall=at.wall).restore(period.id, totals)
        return True

    # --- resolving ---------------------------------------------------------------------------------------------------

    def _resolve(self, path: tuple[str, ...], at: Instant) -> Chart:
        accounts: list[Account] = []
        meters: list[Meter] = []
        met: list[Limit] = []
        for name, limits in self._levels(path):
            account = self._open(name, at)
            accounts.append(account)
            meters += [self._meter(account, carrier, limit, wall=at.wall) for carrier, limit in limits]
            met += [limit for _, limit in limits]
        chart = self._unlimited
        if meters:
            chart = Chart(tuple(accounts), tuple(meters), demands=demands(met))
            chart.open(at.wall, self._common)
        if len(self._charts) >= CHARTS_MAX:
            self._charts.clear()
        self._charts[path] = chart
        return chart

    def _levels(self, path: tuple[str, ...]) -> Iterator[tuple[str, list[tuple[str, Limit]]]]:
        """Each account of the path that is limited, with its limits and who carries them."""
        per_run: list[tuple[str, Limit]] = []
        for name in path:
            own = [(name, limit) for limit in tightest(self._rules.limits(name)).values()]
            per_run += [(carrier, limit) for carrier, limit in own if limit.per == "run"]
            limits = [(carrier, limit) for carrier, limit in own if limit.per != "run"]
            if name.startswith(RUN):
                limits += per_run
            if limits:
                yield name, limits

    def _meter(self, account: Account, carrier: str, limit: Limit, *, wall: float) -> Meter:
        key = (carrier, limit.unit, limit.per)
        meter = account.meters.get(key)
        if meter is None:
            meter = self._brought_back(account.name, key, limit)
            if meter is None:
                meter = Meter(account.name, carrier, limit, common=self._common, wall=wall)
            account.meters[key] = meter
        return meter

    def _brought_back(self, account: str, key: Key, limit: Limit) -> Meter | None:
        meter = self._aside.pop((account, key), None)
        if meter is not None:
            self.forgotten += 1  # by a checkpoint that was taken meanwhile
            meter.change(limit)
        return meter

    def _revise(self, account: Account) -> None:
        for key, meter in list(account.meters.items()):
            carrier, unit, per = key
            limit = tightest(self._rules.limits(carrier)).get((unit, per))
            if limit is None:
                self.forgotten += 1
                self._aside[account.name, key] = account.meters.pop(key)
                if len(self._aside) > ASIDE_MAX:
                    self._aside.popitem(last=False)
            else:
                meter.change(limit)
        if not account.meters:
            self._forget(account)

    # --- keeping and forgetting --------------------------------------------------------------------------------------

    def _shelf(self, name: str) -> OrderedDict[str, Account]:
        return self._runs if name.startswith(RUN) else self._others

    def _open(self, name: str, at: Instant) -> Account:
        shelf = self._shelf(name)
        account = shelf.get(name)
        if account is not None:
            shelf.move_to_end(name)
        else:
            if shelf is self._runs and len(shelf) >= self._bounds.runs_max:
                self._forget_a_run(at)
            elif shelf is self._others and len(shelf) >= self._bounds.others_max:
                self._forget_blank(at)
            account = shelf[name] = Account(name, at.now)
        return account

    def _forget_a_run(self, at: Instant) -> None:
        oldest = [account for account in islice(self._runs.values(), EXAMINED_MAX) if not account.busy]
        if not oldest:
            return
        blank = next((account for account in oldest if account.blank(at.wall)), None)
        account = blank or oldest[0]
        if blank is None and at.now - account.used_at < self._bounds.idle_s:
            self.dropped_early += 1
        self._forget(account)

    def _forget_blank(self, at: Instant) -> None:
        for account in list(islice(self._others.values(), EXAMINED_MAX)):
            if not account.busy and account.blank(at.wall):
                self._forget(account)
                return
            self._others.move_to_end(account.name)  # so that others are looked at the next time

    def _forget(self, account: Account) -> None:
        self.forgotten += 1
        self._drop(account)

    def _drop(self, account: Account) -> None:
        account.gone = True
        self._gone += 1
        del self._shelf(account.name)[account.name]
