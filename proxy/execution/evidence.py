"""What this process has seen of the rungs of its cascades, and what follows for the next call.

It connects the policies: labels go to `conformal`, which says what may be accepted, and to `bandit`, which says where
calls of a kind begin; runs stay at a rung by `sticky_rung`. A label that was made here is told to whoever keeps it, one
that others made or that was kept is only heard. Where labels come from is decided by `shadowing` and by people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from msgspec import structs

from policies.accept import Verdict
from policies.accept_rules import CascadeRules
from policies.bandit import Bandit, Learnt
from policies.call_kind import kind_of
from policies.conformal import Conformal, Label, Standing
from policies.sticky_rung import StickyRung
from proxy.clock import Clock
from proxy.execution.given import Feedback, Given
from proxy.tenancy import run_of
from proxy.types import Call, Plan

LOSS_MAX: Final = 0.05  # that the labels of a cascade are held against which names no bound
NO_RULES: Final = CascadeRules()


class Watch(Protocol):
    """Who counts: see `telemetry.cascade_metrics`."""

    def labelled(self, model: str, *, agreed: bool) -> None: ...

    def stands(self, standing: Standing) -> None: ...


def untold(label: Label) -> None:
    """For those who keep nothing."""


class Evidence:
    """Implements `accept.Evidence` and `accept.FirstRung`. `rules`: of the cascades, as they are in force now."""

    def __init__(
        self,
        clock: Clock,
        rules: Callable[[], Mapping[str, CascadeRules]],
        tell: Callable[[Label], None] = untold,
        watch: Watch | None = None,
    ) -> None:
        self._rules = rules
        self._tell = tell
        self._watch = watch
        self._conformal = Conformal()
        self._bandit = Bandit(clock.rng("cascades"))
        self._opening = Learnt(self._bandit, self._dear_shares)
        self._sticky = StickyRung(self._opening)
        self._given = Given()

    def __repr__(self) -> str:
        return f"Evidence({self._conformal!r}, {self._bandit!r}, {self._sticky!r}, {self._given!r})"

    # --- what cascades ask -------------------------------------------------------------------------------------------

    def threshold(self, call: Call, plan: Plan, rung: int, *, score: float, now: float) -> Verdict | None:
        loss_max = self._of(plan.model).max_loss
        if loss_max is None:
            return None
        return self._conformal.verdict((call.identity.agent, plan.model, rung), score, loss_max)

    def first(self, call: Call, plan: Plan, now: float) -> tuple[int, str]:
        if not self._of(plan.model).sticky:
            return self._opening.open(call, plan)
        return self._sticky.first(call, plan, now)

    def answered(self, call: Call, plan: Plan, rung: int, *, escalated: bool, now: float) -> None:
        self._sticky.answered(call, plan, rung, escalated=escalated, now=now)
        rules = self._of(plan.model)
        if rules.dear_share is None:
            return
        if rung == len(plan.members) - 1:
            self.gave(call, plan, rung, 1.0)
        if escalated and rung:  # what gates turn away is known of all calls, what labels say of some
            self._learn_gates(call, plan, rung - 1, passed=False)
        elif not escalated and not rules.shadow:
            self._learn_gates(call, plan, rung, passed=True)

    # --- labels ------------------------------------------------------------------------------------------------------

    def share(self, agent: str, model: str, rung: int) -> float:
        """Of the answers that pass all else, how many are to be compared with the last rung's: all of them as long as
        nothing is accepted, since then they can be compared for nothing."""
        rules = self._of(model)
        if rules.max_loss is not None and not self._conformal.is_open((agent, model, rung)):
            return 1.0
        return rules.shadow

    def gave(self, call: Call, plan: Plan, rung: int, mark: float) -> None:
        """An answer that goes out, for whoever will speak of it."""
        self._given.add(call.id, run_of(call.identity), self.label(call, plan, rung, mark))

    def label(self, call: Call, plan: Plan, rung: int, mark: float) -> Label:
        """Of an answer, before anybody says whether it was right."""
        kind = kind_of(call) if self._of(plan.model).dear_share is not None else ""
        last = rung == len(plan.members) - 1
        return Label(call.identity.agent, plan.model, rung, mark, agreed=True, kind=kind, last=last)

    def learn(self, label: Label) -> None:
        self.hear(label)
        self._tell(label)
        if self._watch is not None and not label.last:
            self._watch.labelled(label.model, agreed=label.agreed)

    def hear(self, label: Label) -> None:
        rules = self._of(label.model)
        if rules.dear_share is not None:
            self._bandit.learn(label, label.rung + 1)
        if label.last:
            return
        floor = self._conformal.learn(label, LOSS_MAX if rules.max_loss is None else rules.max_loss)
        if self._watch is not None:
            self._watch.stands(floor.standing(label.key))

    def feedback(self, feedback: Feedback) -> int:
        """How many answers of this process it was about."""
        labels = self._given.labels(feedback)
        for label in labels:
            self.learn(label)
        return len(labels)

    def reset(self, agent: str | None, model: str | None) -> int:
        """Forgets; None: of all. How many rungs that were."""
        self._bandit.reset(agent, model)
        if self._watch is not None:
            for standing in self._conformal.standings:
                if agent in (None, standing.agent) and model in (None, standing.model):
                    self._watch.stands(structs.replace(standing, withdrawn=False, loss_at_most=0.0))
        return self._conformal.reset(agent, model)

    @property
    def standings(self) -> list[Standing]:
        return self._conformal.standings

    @property
    def labels(self) -> list[Label]:
        """All that another process has to hear to know what this one does."""
        return self._conformal.labels

    def _of(self, model: str) -> CascadeRules:
        return self._rules().get(model, NO_RULES)

    def _dear_shares(self) -> Mapping[str, float]:
        return {name: rules.dear_share for name, rules in self._rules().items() if rules.dear_share is not None}

    def _learn_gates(self, call: Call, plan: Plan, rung: int, *, passed: bool) -> None:
        label = self.label(call, plan, rung, 0.0)
        weight = self._of(plan.model).shadow or 1.0
        self._bandit.learn(structs.replace(label, agreed=passed, weight=weight), len(plan.members))
