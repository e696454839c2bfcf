"""At which rung it is best to begin, learnt by agent and kind of call: quality less what it costs.

Thompson sampling (1933; Chapelle and Li, NeurIPS 2011): of each rung a quality is drawn from what is known of it, and
the best after its price is asked; draws have half the posterior's spread, which that paper found to regret less. A kind
that was not seen begins at what all calls of the agent have shown, and an agent at the ladder's own order: dearer is
better. What was learnt counts half after 1,000 calls. Lambda, the price of cost, rises where more than the share goes
to the dearest rung and falls where less does (dual ascent); a share that was not needed is kept for later, for some 250
calls. Whether anybody wants this is the operator's word; it is off unless a share is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final

from policies.call_kind import kind_of
from policies.conformal import Label
from policies.plan import likely_usd_nanos
from policies.recent import Recent
from proxy.types import Call, Plan

KINDS_MAX: Final = 8_192
HALF_LIFE: Final = 1_000  # calls of a kind
KEPT: Final = 0.5 ** (1 / HALF_LIFE)
TOP_QUALITY: Final = 0.9  # of the dearest rung, before anything was seen
A_RUNG_LESS: Final = 0.1
LADDER_WEIGHT: Final = 10.0  # of the ladder's order, in labels of the agent
AGENT_WEIGHT: Final = 8.0  # of the agent's calls, in labels of a kind
SHARPER: Final = 4.0  # times the counts, for half the spread
STEP: Final = 0.05  # of lambda, for the first call
STEP_LEAST: Final = 0.004
STEPS_FULL: Final = 20.0  # calls before steps shrink
CREDIT: Final = 1.0  # below 0, where cost has no price and dear calls are saved up


class _Arms:
    """Right and wrong answers of each rung, as far as they are remembered."""

    __slots__ = ("right", "wrong")

    def __init__(self) -> None:
        self.right: list[float] = []
        self.wrong: list[float] = []

    def __repr__(self) -> str:
        return f"_Arms({[f'{right:.1f}:{wrong:.1f}' for right, wrong in zip(self.right, self.wrong, strict=True)]})"

    def grow(self, rungs: int) -> None:
        while len(self.right) < rungs:
            self.right.append(0.0)
            self.wrong.append(0.0)

    def fade(self) -> None:
        for counts in (self.right, self.wrong):
            for arm, count in enumerate(counts):
                counts[arm] = count * KEPT

    def learn(self, arm: int, quality: float, weight: float) -> None:
        self.right[arm] += quality * weight
        self.wrong[arm] += (1.0 - quality) * weight

    def mean(self, arm: int, prior: float, weight: float) -> float:
        right, wrong = self.right[arm], self.wrong[arm]
        return (right + prior * weight) / (right + wrong + weight)


class _Lambda:
    __slots__ = ("_value", "calls")

    def __init__(self) -> None:
        self._value = 0.0
        self.calls = 0

    @property
    def price(self) -> float:
        return max(0.0, self._value)

    def move(self, cost: float, share: float) -> None:
        """`cost`: of what was chosen, 0 for the cheapest and 1 for the dearest."""
        self.calls += 1
        step = max(STEP_LEAST, STEP * min(1.0, (STEPS_FULL / self.calls) ** 0.5))
        self._value = min(1.0, max(-CREDIT, self._value + step * (cost - share)))


class Bandit:
    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._kinds: Recent[tuple[str, str, str], _Arms] = Recent(KINDS_MAX, _Arms)
        self._agents: Recent[tuple[str, str], _Arms] = Recent(KINDS_MAX, _Arms)
        self._lambdas: Recent[tuple[str, str], _Lambda] = Recent(KINDS_MAX, _Lambda)

    def __repr__(self) -> str:
        return f"Bandit({len(self._kinds)} kinds)"

    def choose(self, agent: str, model: str, kind: str, *, costs: Sequence[float], share: float) -> int:
        """The number of a rung. `costs`: of each, in any unit; `share`: of the dearest one's calls that is allowed."""
        rungs, whole = len(costs), self._agents.get((agent, model))
        arms, dual = self._kinds.get((agent, model, kind)), self._lambdas.get((agent, model))
        for each in (whole, arms):
            each.grow(rungs)
            each.fade()
        relative, price = _relative(costs), dual.price
        values = []
        for arm in range(rungs):
            ladder = TOP_QUALITY - A_RUNG_LESS * (rungs - 1 - arm)
            prior = whole.mean(arm, ladder, LADDER_WEIGHT)
            right = SHARPER * (arms.right[arm] + prior * AGENT_WEIGHT)
            wrong = SHARPER * (arms.wrong[arm] + (1.0 - prior) * AGENT_WEIGHT)
            values.append(self._rng.betavariate(max(right, 1e-3), max(wrong, 1e-3)) - price * relative[arm])
        best = max(range(rungs), key=lambda arm: values[arm])
        dual.move(relative[best], share)
        return best

    def learn(self, label: Label, rungs: int) -> None:
        """How good an answer of a rung was; of a cascade with so many."""
        arms, whole = self._kinds.get((label.agent, label.model, label.kind)), self._agents.get(label.key[:2])
        for each in (arms, whole):
            each.grow(max(rungs, label.rung + 1))
            each.learn(label.rung, float(label.agreed), label.weight)

    def reset(self, agent: str | None, model: str | None) -> None:
        for kind in [key for key in self._kinds if agent in (None, key[0]) and model in (None, key[1])]:
            self._kinds.forget(kind)
        for key in [key for key in self._agents if agent in (None, key[0]) and model in (None, key[1])]:
            self._agents.forget(key)
            self._lambdas.forget(key)


class Learnt:
    """Implements `sticky_rung.Opening`. `shares`: by cascade, of those that learn; whatever is in force now."""

    def __init__(self, bandit: Bandit, shares: Callable[[], Mapping[str, float]]) -> None:
        self._bandit = bandit
        self._shares = shares

    def __repr__(self) -> str:
        return f"Learnt({self._bandit!r})"

    def open(self, call: Call, plan: Plan) -> tuple[int, str]:
        share = self._shares().get(plan.model)
        if share is None:
            return 0, ""
        kind = kind_of(call)
        costs = [float(likely_usd_nanos(call, member.steps[0][0])) for member in plan.members]
        rung = self._bandit.choose(call.identity.agent, plan.model, kind, costs=costs, share=share)
        return rung, f"learnt of calls like it ({kind})" if rung else ""


def _relative(costs: Sequence[float]) -> list[float]:
    least, most = min(costs), max(costs)
    if most == least:
        return [0.0] * len(costs)
    return [(cost - least) / (most - least) for cost in costs]
