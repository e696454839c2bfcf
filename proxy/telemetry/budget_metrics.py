"""The metrics of budgets: limits in money as they stand, what calls cost above their holds, what was refused.

The label `budget` is closed: agents and teams that the configuration names go by their name, all runs are `run`, all
keys `key`, every agent that only `defaults` give a budget is `other`. Series of several limits are sums. Gauges are set
from a pass over the accounts that someone else makes; counters are fed as things happen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from proxy.telemetry.catalog import SHORT, WINDOWS
from proxy.telemetry.family import OTHER
from proxy.telemetry.labels import Labels
from proxy.telemetry.series import Number, Series
from proxy.types import Outcome, Per, Period

SUMMED: Final = ("run", "key")  # no label holds the id of one
REASONS: Final = SHORT.values or ()
GAUGES: Final = ("budget_limit_usd", "budget_spent_usd", "budget_held_usd", "budget_unresolved_usd")
RESETS: Final = "budget_resets_timestamp_seconds"


class Totals(Protocol):
    @property
    def spent(self) -> int: ...
    @property
    def overrun(self) -> int: ...
    @property
    def unresolved(self) -> int: ...


class Standing(Protocol):
    """One limit as it stands."""

    @property
    def period(self) -> Period: ...
    @property
    def limit(self) -> int: ...
    @property
    def totals(self) -> Totals: ...
    @property
    def held(self) -> int: ...
    @property
    def resets_wall(self) -> float | None: ...


class Shortfall(Protocol):
    @property
    def period(self) -> Period: ...
    @property
    def reason(self) -> str: ...


class Refusal(Protocol):
    @property
    def shortfalls(self) -> tuple[Shortfall, ...]: ...


class BudgetMetrics:
    def __init__(self, numbers: Mapping[str, Series[Number]], labels: Labels) -> None:
        self._labels = labels
        self._gauges = tuple(numbers[name] for name in GAUGES)
        self._resets = numbers[RESETS]
        self._overruns = numbers["budget_overrun_usd_total"]
        self._denied = numbers["budget_denied_total"]
        self._shown: set[tuple[str, str]] = set()

    def __repr__(self) -> str:
        return f"BudgetMetrics({len(self._shown)} shown)"

    def learn(self, accounts: Iterable[str]) -> None:
        """The accounts that the configuration gives a budget."""
        self._labels.learn_budgets(accounts)
        for name in (*self._labels.budgets, OTHER):
            for reason in REASONS:
                _ = self._denied[name, reason]  # born at its first look-up, at zero

    def show(self, standings: Iterable[Standing]) -> None:
        """All limits as they stand; what was shown and is none any more goes to zero."""
        sums: dict[tuple[str, str], list[int]] = {}
        resets: dict[tuple[str, str], float] = {}
        for standing in standings:
            if standing.period.unit != "usd":
                continue
            key = (self._budget(standing.period.account), _window(standing.period.per))
            totals = standing.totals
            figures = (standing.limit, totals.spent + totals.overrun, standing.held, totals.unresolved)
            sums[key] = [so_far + figure for so_far, figure in zip(sums.get(key, (0,) * 4), figures, strict=True)]
            if standing.resets_wall is not None:
                resets[key] = min(standing.resets_wall, resets.get(key, standing.resets_wall))
        for key in sums.keys() | self._shown:
            for gauge, figure in zip(self._gauges, sums.get(key, (0,) * 4), strict=True):
                gauge[key].value = figure
            if key in resets:
                self._resets[key].value = resets[key]
        self._shown |= sums.keys()

    def denied(self, refusal: Refusal) -> None:
        for shortfall in refusal.shortfalls:
            self._denied[self._budget(shortfall.period.account), shortfall.reason].value += 1

    def observe(self, outcome: Outcome) -> None:
        """What one call cost above its hold and all room is one sum of money, however many accounts it overran."""
        overrun = 0
        for charge in outcome.charges:
            if charge.overrun > overrun and charge.period.unit == "usd":
                overrun = charge.overrun
        if overrun and outcome.target is not None:
            self._overruns[outcome.target.provider,].value += overrun

    def _budget(self, account: str) -> str:
        if account in self._labels.budgets:
            return account
        kind = account.partition(":")[0]
        return kind if kind in SUMMED else OTHER


def _window(per: Per) -> str:
    return per if per in WINDOWS else "total"
