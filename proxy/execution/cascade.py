"""Mode `cascade`: models are asked in order, the cheapest first, until an answer is good enough.

Of every rung but the last the answer is taken in hand, whole or its beginning, and judged before a byte of it goes out;
the last one streams through at once. So the client has one model's words, from the first to the last. A rung that fails
is a rung that was not good enough. Where nobody can be asked any more (money, time, errors) the last whole answer goes
out all the same, marked, if the rules say so. Which answer passes is `policies.accept`'s word. "FrugalGPT" (Chen,
Zaharia and Zou, 2023).
"""

from __future__ import annotations

from typing import Final, Literal, Protocol

from msgspec import Struct, structs

from policies import accept
from policies.accept import Evidence, FirstRung, Judged, Tools, Verdict
from policies.accept_rules import CascadeRules
from policies.grading import written
from proxy.clock import Clock
from proxy.dialects.base import Dialect
from proxy.errors import ProxyError
from proxy.execution.admission import Admission
from proxy.execution.bench import Rules
from proxy.execution.course import Leg
from proxy.execution.holding import put_down, take
from proxy.execution.race import Answer, Race
from proxy.execution.record import Pupil, Record
from proxy.execution.second_look import Looked, SecondLook
from proxy.observed import Climbed, Demand, Said
from proxy.snapshot import Snapshot
from proxy.types import Call, Plan

ENDPOINTS: Final = frozenset({"chat", "completions", "responses"})
# The gate's own refusals that another model need not meet; whatever an upstream says may be its own affair.
ELSEWHERE: Final = frozenset({"overloaded", "rate_limit_exceeded", "deadline_exceeded"})
SPENT: Final = frozenset({"budget_exceeded"})


class Accepted(Struct, frozen=True):
    """A cheap answer that goes out, or would, were there evidence for it. `mark`: how sure anybody is, in 0..1."""

    call: Call
    plan: Plan
    rung: int
    said: tuple[Said, ...]
    mark: float
    rules: CascadeRules
    snapshot: Snapshot


class Onlooker(Protocol):
    """Neither may wait."""

    def accepted(self, accepted: Accepted) -> None: ...

    def withheld(self, accepted: Accepted) -> Pupil | None:
        """There was no evidence for it, and nothing else against it. Who is told what was answered instead."""
        ...


class Nobody:
    """Implements `Onlooker`."""

    def accepted(self, accepted: Accepted) -> None:
        return

    def withheld(self, accepted: Accepted) -> Pupil | None:
        return None


class Kit(Struct, frozen=True):
    """What cascades work with; made once."""

    clock: Clock
    dialect: Dialect
    race: Race
    admission: Admission
    tools: Tools
    second_look: SecondLook
    evidence: Evidence
    first_rung: FirstRung
    onlooker: Onlooker


class Climb:
    """One call on its way up."""

    __slots__ = ("ask", "best", "cascade", "demand", "plan", "record", "revised", "rules", "rung", "snapshot")

    def __init__(self, record: Record, plan: Plan, rules: Rules, snapshot: Snapshot) -> None:
        self.record = record
        self.plan = plan
        self.rules = rules
        self.snapshot = snapshot
        self.cascade = snapshot.cascades.get(plan.model, CascadeRules())
        self.demand = Demand()
        self.rung = 0
        self.ask: Call | None = None  # what this rung is asked instead of the call itself
        self.revised = False
        self.best: Answer | None = None  # whole, and not accepted

    def __repr__(self) -> str:
        return f"Climb({self.plan.model!r}, at {self.rung} of {len(self.plan.members)})"

    @property
    def member(self) -> Plan:
        return self.plan.members[self.rung]

    @property
    def is_last(self) -> bool:
        return self.rung == len(self.plan.members) - 1

    def up(self, ask: Call | None = None) -> None:
        self.rung += 1
        self.ask = ask


class Cascade:
    """Implements `parts.Executor`."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    def __repr__(self) -> str:
        return f"Cascade({self._kit.second_look!r})"

    async def run(self, record: Record, plan: Plan, rules: Rules, snapshot: Snapshot) -> Answer:
        climb = Climb(record, plan, rules, snapshot)
        if record.call.endpoint not in ENDPOINTS:
            message = f"The model {plan.model!r} is a cascade: it answers chats, completions and responses."
            raise ProxyError("invalid_request", message, param="model")
        self._begin(climb)
        while True:  # bounded by the rungs, and one revision
            answer = await self._step(climb)
            if answer is not None:
                record.answered, record.served_by = answer[0], "cascade"
                return answer

    def _begin(self, climb: Climb) -> None:
        kit, call = self._kit, climb.record.call
        climb.demand = kit.dialect.demanded(call)
        rung, why = kit.first_rung.first(call, climb.plan, kit.clock.now())
        climb.rung = min(rung, len(climb.plan.members) - 1)
        if climb.rung:
            self._say(climb, f"begins at rung {climb.rung} ({climb.member.model!r}): {why}")
        if not climb.is_last and "repeated_tool_error" in climb.cascade.accept:
            no = accept.repeated(kit.dialect.tool_errors(call))
            if no is not None:
                self._escalated(climb, no)
                climb.up()

    async def _step(self, climb: Climb) -> Answer | None:
        """What this rung has come to: the answer for the client, or None: on to where `climb` stands now."""
        kit, record, plan = self._kit, climb.record, climb.plan
        admitted = kit.admission.admit(record.call, climb.member)
        if isinstance(admitted, ProxyError):
            return self._failed(climb, admitted)
        # What holds for the attempts of this rung, and for what is kept of its answer.
        record.plan = structs.replace(
            plan,
            steps=admitted.steps,
            fallbacks=admitted.fallbacks,
            output_tokens_max=admitted.output_tokens_max,
        )
        leg = Leg("escalation" if record.climbed else "first", climb.ask)
        try:
            answer = await kit.race.run(record, admitted, climb.rules, leg=leg)
            if climb.is_last:
                self._climbed(climb, "accept", "last")
                self._say(climb, f"{climb.member.model!r} is the last rung: its answer goes out")
                return answer
            whole = await self._take(climb, answer)
        except ProxyError as error:
            return self._failed(climb, error)
        verdict = await self._judged(climb, answer, whole=whole)
        if verdict.accepted:
            return self._accept(climb, answer, verdict)
        if whole:
            climb.best = answer
        else:
            await leg.abandon()
        self._reject(climb, answer, verdict)
        return None

    async def _take(self, climb: Climb, answer: Answer) -> bool:
        """Whether all of it is in hand, and settled: a judge may take its time."""
        call, exchange = climb.record.call, answer[0]
        whole = await take(exchange, climb.rules, climb.cascade.hold, deadline=call.deadline, clock=self._kit.clock)
        if whole:
            await put_down(exchange)
        return whole

    async def _judged(self, climb: Climb, answer: Answer, *, whole: bool) -> Verdict:
        kit, call = self._kit, climb.record.call
        said = kit.dialect.said(answer[1].first)
        judged = Judged(said, climb.demand, call.identity.agent, climb.member.model, whole)
        verdict = accept.judge(judged, climb.cascade, kit.tools)
        if not verdict.accepted:
            return verdict
        mark = accept.score(said)
        if whole:
            looked = Looked(climb.record, climb.member, said, climb.rules, climb.snapshot)
            no, given = await kit.second_look.look(looked, climb.cascade)
            if no is not None:
                return no
            mark = mark if given is None else given
        now = kit.clock.now()
        evidence = kit.evidence.threshold(call, climb.plan, climb.rung, score=mark, now=now)
        accepted = Accepted(call, climb.plan, climb.rung, said, mark, climb.cascade, climb.snapshot)
        if evidence is None or evidence.accepted:
            kit.onlooker.accepted(accepted)
        elif (pupil := kit.onlooker.withheld(accepted)) is not None:
            climb.record.pupils += (pupil,)
        return verdict if evidence is None else evidence

    # --- what follows ------------------------------------------------------------------------------------------------

    def _accept(self, climb: Climb, answer: Answer, verdict: Verdict) -> Answer:
        self._climbed(climb, "accept", verdict.by)
        self._say(climb, f"the answer of {climb.member.model!r} was accepted: {verdict.reason}")
        return answer

    def _reject(self, climb: Climb, answer: Answer, verdict: Verdict) -> None:
        revised, again = None, climb.cascade.revise
        if again != "off" and not climb.revised and answer is climb.best:
            said = self._kit.dialect.said(answer[1].first)
            draft = written(said[0]) if said else ""
            revised = self._kit.dialect.revised(climb.record.call, draft, verdict.reason)
        climb.revised = climb.revised or revised is not None
        if revised is not None and again == "same":
            self._climbed(climb, "escalate", verdict.by)
            self._say(climb, f"{climb.member.model!r} is asked once more: {verdict.reason}")
            climb.ask = revised
            return
        self._escalated(climb, verdict)
        climb.up(revised)

    def _escalated(self, climb: Climb, verdict: Verdict) -> None:
        self._climbed(climb, "escalate", verdict.by)
        above = climb.plan.members[climb.rung + 1].model
        self._say(climb, f"the answer of {climb.member.model!r} was not accepted: {verdict.reason}; {above!r} is asked")

    def _failed(self, climb: Climb, error: ProxyError) -> Answer | None:
        """On to the next rung; or the best answer so far. Raises the error where neither will do."""
        self._climbed(climb, "error", error.code)
        over = self._kit.clock.now() >= climb.record.call.deadline
        passing = error.source == "upstream" or error.code in ELSEWHERE
        if passing and not over and not climb.is_last:
            above = climb.plan.members[climb.rung + 1].model
            self._say(climb, f"{climb.member.model!r} failed ({error.code}); {above!r} is asked")
            climb.up()
            return None
        late = over and climb.record.call.head.stream  # a stream would be cut at once
        if climb.best is None or late or climb.cascade.on_no_money == "error" or not (passing or error.code in SPENT):
            raise error
        self._say(
            climb, f"{climb.member.model!r} could not be asked ({error.code}): the answer before goes out unverified"
        )
        record = climb.record
        record.lookup = None  # nobody else is given it
        if record.wanted is not None:
            record.wanted = structs.replace(record.wanted, exact=None)
        return climb.best

    def _climbed(self, climb: Climb, decision: Literal["accept", "escalate", "error"], why: str) -> None:
        climb.record.climbed += (Climbed(climb.rung, climb.member.model, decision, why),)
        if decision == "accept":
            escalated = len(climb.record.climbed) > 1
            now = self._kit.clock.now()
            self._kit.first_rung.answered(climb.record.call, climb.plan, climb.rung, escalated=escalated, now=now)

    def _say(self, climb: Climb, said: str) -> None:
        climb.record.decided(self._kit.clock.now(), said)
