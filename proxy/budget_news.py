"""What budgets have to tell: thresholds that were reached, overruns, refusals.

A threshold (50, 80, 100 %) is told once a window, to the log and the ledger, and so is an overrun to the log. Refusals
are counted; into the ledger go their sums, one row for each account, code and second, because an agent in a loop can be
refused a thousand times in one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from policies.limits import Crossing, Refusal
from policies.refusal import amount
from proxy.telemetry.log import RequestLog
from proxy.types import Charge, Period

CODE: Final = "budget_exceeded"
MERGE_S: Final = 1.0
MERGED_MAX: Final = 1_000  # accounts told apart within a second
REST: Final = "other"


class Events(Protocol):
    """The ledger, as far as it keeps what is no call."""

    def append_event(self, kind: str, subject: str, body: object) -> None: ...


class Counters(Protocol):
    def denied(self, refusal: Refusal) -> None: ...


class BudgetNews:
    """`charged` is who wants to know of every charge."""

    def __init__(
        self, log: RequestLog, events: Events, counters: Counters, charged: Callable[[tuple[Charge, ...]], None]
    ) -> None:
        self._log = log
        self._events = events
        self._counters = counters
        self.charged = charged
        self._refused: dict[str, int] = {}  # by account, in the present second
        self._due: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"BudgetNews({self._refused})"

    def crossed(self, crossing: Crossing) -> None:
        told = {**_named(crossing.period), "reached_percent": crossing.percent}
        self._log.event("budget", "warning", told)
        self._events.append_event("limit", crossing.period.account, told)

    def overran(self, charge: Charge) -> None:
        period = charge.period
        overrun: dict[str, str | int] = {**_named(period), "overrun": amount(period.unit, charge.overrun)}
        self._log.event("budget overrun", "warning", overrun)

    def denied(self, refusal: Refusal) -> None:
        self._counters.denied(refusal)
        for account in dict.fromkeys(shortfall.period.account for shortfall in refusal.shortfalls):
            known = account in self._refused or len(self._refused) < MERGED_MAX
            name = account if known else REST
            self._refused[name] = self._refused.get(name, 0) + 1
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(MERGE_S, self.flush)

    def flush(self) -> None:
        """Writes what was refused since the last time; a stop does so too."""
        if self._due is not None:
            self._due.cancel()
        refused, self._refused, self._due = self._refused, {}, None
        for account, count in refused.items():
            self._events.append_event("refusal", account, {"code": CODE, "count": count})


def _named(period: Period) -> dict[str, str | int]:
    return {"account": period.account, "unit": period.unit, "per": period.per}
