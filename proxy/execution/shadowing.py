"""A share of the cheap answers of cascades is compared with the last rung's, so that there is evidence of them.

Of an answer that went out the last rung is asked once the reply is under way: a call of its own in the batch tier, on
behalf of the same agent and run, as long as the cascade's dollars of the day last. An answer that lacked evidence alone
is compared for nothing, with what the last rung then answered; where one between answered, the share is asked. The same
normal form agrees; two long texts in other words are no label, since nobody can tell from the words.
"""

from __future__ import annotations

from functools import partial
from typing import Final, Protocol

from msgspec import Struct, structs

from policies.answers import normalised
from policies.conformal import Source
from policies.daily_budget import DailyBudget
from policies.plan import Planner, Route, Routes
from policies.recent import Recent
from policies.semantic.answer import same
from proxy.clock import Clock
from proxy.dialects.base import Dialect
from proxy.errors import ProxyError
from proxy.execution.asking import Asks
from proxy.execution.cascade import Accepted
from proxy.execution.evidence import Evidence
from proxy.execution.record import Pupil, Record
from proxy.observed import Said
from proxy.snapshot import Snapshot
from proxy.tasks import Tasks
from proxy.types import Plan

SHADOW_S: Final = 300.0
CASCADES_MAX: Final = 1_024


class Spent(Protocol):
    def shadowed(self, model: str, usd_nanos: int) -> None: ...


class Learning(Struct, frozen=True):
    """What cascades learn with. `spent`: told what the comparing of answers costs."""

    evidence: Evidence
    tasks: Tasks
    spent: Spent


class Shadowing:
    """Implements `cascade.Onlooker`."""

    def __init__(self, clock: Clock, dialect: Dialect, learning: Learning, side: Asks) -> None:
        self._clock = clock
        self._dialect = dialect
        self._tasks = learning.tasks
        self._evidence = learning.evidence
        self._watch = learning.spent
        self._rng = clock.rng("shadows")
        self._side = side
        self._budgets: Recent[str, DailyBudget] = Recent(CASCADES_MAX, DailyBudget)

    def __repr__(self) -> str:
        return f"Shadowing({self._evidence!r})"

    def accepted(self, accepted: Accepted) -> None:
        self._evidence.gave(accepted.call, accepted.plan, accepted.rung, accepted.mark)
        if self._sampled(accepted) and self._has_money(accepted):
            self._tasks.start("shadow", self._asked(accepted))

    def withheld(self, accepted: Accepted) -> Pupil | None:
        return partial(self._answered, accepted) if self._sampled(accepted) else None

    def _sampled(self, accepted: Accepted) -> bool:
        whole = len(accepted.said) == 1 and accepted.said[0].finish_reason is not None
        share = self._evidence.share(accepted.call.identity.agent, accepted.plan.model, accepted.rung)
        return whole and self._rng.random() < share

    def _has_money(self, accepted: Accepted) -> bool:
        budget = self._budgets.get(accepted.plan.model)
        return budget.has_some(accepted.rules.shadow_usd_nanos_a_day, self._clock.now())

    def _answered(self, accepted: Accepted, record: Record, body: bytes) -> None:
        """The client has the last rung's answer; or that of one between, or, after an error, any."""
        came_from = record.climbed[-1] if record.climbed else None
        if came_from is not None and came_from.why == "last":
            self._compare(accepted, body, "escalation")
            return
        between = came_from is not None and came_from.decision == "accept"
        if between and self._rng.random() < accepted.rules.shadow and self._has_money(accepted):
            self._tasks.start("shadow", self._asked(accepted))

    async def _asked(self, accepted: Accepted) -> None:
        call, last = accepted.call, accepted.plan.members[-1]
        body = self._dialect.write(call, structs.replace(last.steps[0][0], model=last.model))
        later = structs.replace(call, deadline=self._clock.now() + SHADOW_S, priority="batch")
        snapshot = _with(accepted.snapshot, last)
        reply = await self._side.ask(later, call.endpoint, body, snapshot=snapshot, seconds=SHADOW_S)
        if isinstance(reply, ProxyError):
            return
        cost = reply.cost_usd_nanos or 0
        self._budgets.get(accepted.plan.model).spend(cost)
        self._watch.shadowed(accepted.plan.model, cost)
        self._compare(accepted, reply.body, "shadow")

    def _compare(self, accepted: Accepted, body: bytes, source: Source) -> None:
        try:
            strong = self._dialect.said(body)
        except ProxyError:
            return
        agreed = agree(accepted.said[0], strong[0]) if len(strong) == 1 else None
        if agreed is None:
            return
        label = self._evidence.label(accepted.call, accepted.plan, accepted.rung, accepted.mark)
        self._evidence.learn(structs.replace(label, agreed=agreed, source=source))


def agree(one: Said, other: Said) -> bool | None:
    """Whether two answers are the same; None: that cannot be told."""
    mine, theirs = normalised(one), normalised(other)
    if not mine or not theirs:
        return None
    if mine == theirs:
        return True
    return False if one.tool_calls or other.tool_calls else same(one.text, other.text)


def _with(snapshot: Snapshot, member: Plan) -> Snapshot:
    """A model that may be known as a rung alone, under its name."""
    route = Route(member.model, member.steps[0], balance=member.balance)
    planner = Planner(Routes((route,)), unpriced_allowed=snapshot.planner.unpriced_allowed)
    return structs.replace(snapshot, planner=planner)
