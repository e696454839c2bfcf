"""The attempts of one call so far: which step of its plan it is at, what was tried there, and what went wrong.

Kept by the race while it runs, and thrown away with it. What follows from it is decided there and in the policies.
"""

from __future__ import annotations

from msgspec import structs

from policies import fallback
from policies.repeatable import why_whole
from policies.survival import Survival, prepared
from proxy.errors import ProxyError
from proxy.execution.attempt import Exchange
from proxy.execution.bench import Rules
from proxy.execution.line import Claim
from proxy.execution.record import Record
from proxy.observed import Begun
from proxy.types import Call, Plan, Role, ServedBy, Target


class Course:
    """The attempts of one call so far."""

    __slots__ = (
        *("alone_s", "ask", "chosen", "claim", "failed", "panic", "plan", "record", "rules"),
        *("step", "targets", "tried"),
    )

    def __init__(self, record: Record, plan: Plan, rules: Rules, claim: Claim) -> None:
        self.record = record
        self.plan = plan
        self.rules = rules
        self.claim = claim
        self.step = 0  # of the plan
        self.targets = plan.steps[0]  # of this step
        self.tried: tuple[Target, ...] = ()  # of this step
        self.failed: ProxyError | None = None  # the last one
        self.alone_s = 0.0  # how long the target that failed last wants to be left alone
        self.panic = False  # too many targets are out: nothing is repeated
        self.chosen = plan.steps[0][0]  # the target of the next attempt
        self.ask = _asked(record.call, plan, rules.survival)

    def fall_back(self, step: int) -> None:
        self.step, self.tried = step, ()
        self.targets = self.plan.steps[step]

    @property
    def attempts(self) -> int:
        return len(self.record.attempts) + len(self.record.open)

    @property
    def role(self) -> Role:
        """Of the next attempt."""
        return "first" if self.failed is None else "retry"

    def served_by(self, answered: Exchange) -> ServedBy:
        if self.plan.fallbacks and fallback.fallback_of(self.plan, answered.target) is not None:
            return "fallback"
        if answered.role == "hedge":
            return "hedge"
        if answered.role == "first":
            return "primary"
        return "fallback" if self.tried.count(answered.target) == 1 else "retry"


def _asked(call: Call, plan: Plan, rules: Survival) -> Call:
    """As the upstreams are asked: a plain call that may be hedged as a stream, because only that shows in time which
    of two is alive, and only that ends when it is closed; and a stream as one that another may go on with."""
    head = call.head
    if rules.on_cut == "continue" and prepared(call, plan):
        return structs.replace(call, head=structs.replace(head, begun=Begun()))
    if head.stream or not call.hedged or len(plan.steps[0]) == 1 or why_whole(call) is not None:
        return call
    return structs.replace(call, head=structs.replace(head, stream=True, include_usage=True, folded=True))
