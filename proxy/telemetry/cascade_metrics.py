"""The metrics of cascades: each rung that was tried, and what the calls cost beside what the last rung would have.

All of it is read from the one outcome of a call. The baseline prices the tokens of the answer that was given as the
last rung is priced: what it would have said itself nobody knows. Judges and verifiers are calls of their own, or none.
"""

from __future__ import annotations

from collections.abc import Mapping

from pricing.book import cost_usd_nanos
from proxy.telemetry.labels import Labels
from proxy.telemetry.series import Number, Series
from proxy.types import Attempt, Outcome

ASIDE = frozenset({"member", "shadow"})  # second looks at an answer


class CascadeMetrics:
    def __init__(self, numbers: Mapping[str, Series[Number]], labels: Labels) -> None:
        self._labels = labels
        self._steps = numbers["cascade_steps_total"]
        self._actual = numbers["cascade_actual_usd_total"]
        self._baseline = numbers["cascade_baseline_usd_total"]

    def expect(self, cascades: Mapping[str, int]) -> None:
        """So many rungs has each: their series begin at 0."""
        for name, rungs in cascades.items():
            for tier in range(rungs):
                for decision in ("accept", "escalate", "error"):
                    _ = self._steps[name, str(tier), decision]
            _ = self._actual[name,], self._baseline[name,]

    def observe(self, outcome: Outcome) -> None:
        name = self._labels.route(outcome.call.route)
        for rung in outcome.climbed:
            self._steps[name, str(rung.tier), rung.decision].value += 1
        cost, baseline = outcome.cost_usd_nanos, baseline_usd_nanos(outcome)
        if outcome.error_code is None and cost is not None and baseline is not None:
            self._actual[name,].value += cost
            self._baseline[name,].value += baseline


def baseline_usd_nanos(outcome: Outcome) -> int | None:
    """What the last rung alone would have cost, in nano-dollars; None: it has no price, or nobody answered."""
    answered = _answered(outcome)
    if answered is None or answered.usage is None or outcome.plan is None or not outcome.plan.members:
        return None
    price = outcome.plan.members[-1].steps[0][0].price
    return None if price is None else cost_usd_nanos(answered.usage, price)


def _answered(outcome: Outcome) -> Attempt | None:
    whole = [each for each in outcome.attempts if each.error_code is None and each.role not in ASIDE]
    return whole[-1] if whole else None
