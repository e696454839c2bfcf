"""The metrics of cascades: each rung that was tried, and what the calls cost beside what the last rung would have.

All of it is read from the one outcome of a call. The baseline prices the tokens of the answer that was given as the
last rung is priced: what it would have said itself nobody knows. Judges and verifiers are calls of their own, or none.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Protocol

from pricing.book import cost_usd_nanos
from proxy.telemetry.labels import Labels
from proxy.telemetry.series import Number, Series
from proxy.types import Attempt, Outcome

STANDINGS_MAX = 4_096
ASIDE = frozenset({"member", "shadow"})  # second looks at an answer


class Stands(Protocol):
    """What is known of a rung: see `policies.conformal`."""

    @property
    def agent(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def rung(self) -> int: ...
    @property
    def loss_at_most(self) -> float: ...
    @property
    def withdrawn(self) -> bool: ...


class CascadeMetrics:
    def __init__(self, numbers: Mapping[str, Series[Number]], labels: Labels) -> None:
        self._labels = labels
        self._steps = numbers["cascade_steps_total"]
        self._actual = numbers["cascade_actual_usd_total"]
        self._baseline = numbers["cascade_baseline_usd_total"]
        self._accepted = numbers["cascade_accepted_total"]
        self._labelled = numbers["cascade_labels_total"]
        self._bound = numbers["cascade_loss_bound"]
        self._withdrawn = numbers["cascade_withdrawn"]
        self._shadowed = numbers["cascade_shadow_usd_total"]
        self._standings: dict[str, OrderedDict[tuple[str, int], Stands]] = {}  # by cascade; of an agent and a rung

    def expect(self, cascades: Mapping[str, int]) -> None:
        """So many rungs has each: their series begin at 0."""
        for name, rungs in cascades.items():
            for tier in range(rungs):
                for decision in ("accept", "escalate", "error"):
                    _ = self._steps[name, str(tier), decision]
            _ = self._actual[name,], self._baseline[name,], self._shadowed[name,]

    def observe(self, outcome: Outcome) -> None:
        name = self._labels.route(outcome.call.route)
        for rung in outcome.climbed:
            self._steps[name, str(rung.tier), rung.decision].value += 1
            if rung.decision == "accept":
                self._accepted[name, rung.why].value += 1
        cost, baseline = outcome.cost_usd_nanos, baseline_usd_nanos(outcome)
        if outcome.error_code is None and cost is not None and baseline is not None:
            self._actual[name,].value += cost
            self._baseline[name,].value += baseline

    def labelled(self, model: str, *, agreed: bool) -> None:
        self._labelled[self._labels.route(model), "same" if agreed else "different"].value += 1

    def shadowed(self, model: str, usd_nanos: int) -> None:
        self._shadowed[self._labels.route(model),].value += usd_nanos

    def stands(self, standing: Stands) -> None:
        """Of several agents and rungs the worst is shown."""
        name = self._labels.route(standing.model)
        known = self._standings.setdefault(name, OrderedDict())
        known[standing.agent, standing.rung] = standing
        if len(known) > STANDINGS_MAX:
            known.popitem(last=False)
        self._bound[name,].value = max([each.loss_at_most for each in known.values()])
        self._withdrawn[name,].value = float(any(each.withdrawn for each in known.values()))


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
