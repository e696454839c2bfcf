"""The attempts of one call so far: which step of its plan it is at, what was tried there, and what went wrong.

Kept by the race while it runs, and thrown away with it. What follows from it is decided there and in the policies. Of a
call that is answered by several models together, each of its legs has one.
"""

from __future__ import annotations

from msgspec import structs

from policies import fallback
from policies.prompt_cache import Asked
from policies.repeatable import why_whole
from policies.siblings import Lead
from policies.survival import Survival, prepared
from proxy.errors import ProxyError
from proxy.execution.attempt import Exchange
from proxy.execution.bench import Rules
from proxy.execution.line import Claim
from proxy.execution.record import Record
from proxy.observed import Begun
from proxy.types import Call, Plan, Role, ServedBy, Target


class Leg:
    """One of the answers that a call is made of: what its attempts are for, and, once made, which they were.

    `ask`: what its models are asked where that is not the call itself.
    """

    __slots__ = ("ask", "made", "role")

    def __init__(self, role: Role, ask: Call | None = None) -> None:
        self.role = role
        self.ask = ask
        self.made: list[Exchange] = []

    def __repr__(self) -> str:
        return f"Leg({self.role!r}, {self.made})"

    async def abandon(self) -> None:
        """Whatever of it is still open is closed and settled, but for what its provider bills to the end."""
        for exchange in self.made:
            if not exchange.is_drained:
                await exchange.end("abandoned")


class Course:
    """The attempts of one call so far, or of one leg of it."""

    __slots__ = (
        *("alone_s", "ask", "asked", "chosen", "claim", "failed", "lead", "leg", "panic", "plan", "record"),
        *("rules", "step", "targets", "tried"),
    )

    def __init__(self, record: Record, plan: Plan, rules: Rules, claim: Claim, leg: Leg | None = None) -> None:
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
        self.asked: Asked | None = None  # what its prompt is to the caches of providers; None: nothing
        self.lead: Lead | None = None  # while others wait for its first event
        self.leg = leg
        own = None if leg is None else leg.ask
        self.ask = _asked(record.call if own is None else own, plan, rules.survival)

    def fall_back(self, step: int) -> None:
        self.step, self.tried = step, ()
        self.targets = self.plan.steps[step]

    @property
    def attempts(self) -> int:
        if self.leg is not None:
            return len(self.leg.made)
        return len(self.record.attempts) + len(self.record.open)

    @property
    def role(self) -> Role:
        """Of the next attempt."""
        if self.failed is not None:
            return "retry"
        return "first" if self.leg is None else self.leg.role

    def served_by(self, answered: Exchange) -> ServedBy:
        if self.plan.fallbacks and fallback.fallback_of(self.plan, answered.target) is not None:
            return "fallback"
        if answered.role == "hedge":
            return "hedge"
        if answered.role == "first" or self.leg is not None:
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
