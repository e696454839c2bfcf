"""What budgets have to tell, as lines of the log: thresholds that were reached, and overruns.

A threshold (50, 80, 100 %) is told once a window.
"""

from __future__ import annotations

from policies.limits import Crossing
from policies.refusal import amount
from proxy.telemetry.log import RequestLog
from proxy.types import Charge, Period


class BudgetNews:
    def __init__(self, log: RequestLog) -> None:
        self._log = log

    def crossed(self, crossing: Crossing) -> None:
        self._log.event("budget", "warning", {**_named(crossing.period), "reached_percent": crossing.percent})

    def charged(self, charges: tuple[Charge, ...]) -> None:
        for charge in charges:
            if charge.overrun:
                period = charge.period
                told: dict[str, str | int] = {**_named(period), "overrun": amount(period.unit, charge.overrun)}
                self._log.event("budget overrun", "warning", told)


def _named(period: Period) -> dict[str, str | int]:
    return {"account": period.account, "unit": period.unit, "per": period.per}
