"""What else looks at a cheap answer before it is accepted: a second sample, a judge, the operator's own verifier.

Each costs time or money, so they are asked in this order, the cheapest first, and the first that says no is the last
that is asked. What cannot be told (a judge without budget, a verifier that is down) is a no: quality is a floor, and
the next rung is there. A judge is a call of its own; a second sample is an attempt of the call.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct, structs

from policies import grading
from policies.accept import Verdict
from policies.accept_rules import Agree, CascadeRules, Judge, Verify
from policies.answers import normalised
from policies.daily_budget import DailyBudget
from policies.recent import Recent
from proxy.alarm import Alarm
from proxy.clock import Clock
from proxy.dialects.base import Dialect
from proxy.errors import ProxyError
from proxy.execution.asking import Asks
from proxy.execution.bench import Rules
from proxy.execution.course import Leg
from proxy.execution.holding import put_down, take
from proxy.execution.race import Race
from proxy.execution.record import Record
from proxy.observed import Said
from proxy.providers.base import Transport, UpstreamRequest
from proxy.snapshot import Snapshot
from proxy.types import Call, Plan

CASCADES_MAX: Final = 1_024
VERIFIED_BYTES_MAX: Final = 64 * 1024
REASON_CHARS: Final = 160


class Looked(Struct, frozen=True):
    """One whole answer. `member`: the plan of the rung that gave it."""

    record: Record
    member: Plan
    said: tuple[Said, ...]
    rules: Rules
    snapshot: Snapshot


class _Found(Struct):
    """A verifier's reply."""

    accepted: bool
    reason: str = ""


class _Posted(Struct):
    """What a verifier is sent."""

    call: str
    agent: str
    model: str  # the rung's
    request: msgspec.Raw
    answer: str
    tool_calls: list[dict[str, str]]
    run: str | None = None


class SecondLook:
    def __init__(self, clock: Clock, dialect: Dialect, race: Race, transport: Transport, *, side: Asks) -> None:
        """`transport`: to verifiers; `side`: to judges."""
        self._clock = clock
        self._dialect = dialect
        self._race = race
        self._transport = transport
        self._side = side
        self._budgets: Recent[str, DailyBudget] = Recent(CASCADES_MAX, DailyBudget)

    def __repr__(self) -> str:
        return f"SecondLook({self._budgets!r})"

    async def look(self, looked: Looked, rules: CascadeRules) -> tuple[Verdict | None, float | None]:
        """A no, or None; and the judge's mark, where there is one. Raises ProxyError where the call has to end."""
        if rules.agree is not None and (no := await self._disagrees(looked, rules.agree)) is not None:
            return no, None
        given: float | None = None
        if rules.judge is not None:
            marked = await self._mark(looked, rules.judge)
            if isinstance(marked, Verdict):
                return marked, None
            given = marked
            if marked < rules.judge.least:
                return Verdict(False, "judge", f"the judge gave it {marked:.2f}, below {rules.judge.least:g}"), given
        if rules.verify is not None and (no := await self._refuted(looked, rules.verify)) is not None:
            return no, given
        return None, given

    # --- agreement -----------------------------------------------------------------------------------------------

    async def _disagrees(self, looked: Looked, agree: Agree) -> Verdict | None:
        plan = looked.member
        if agree.model is not None:
            other = _plan_of(looked.record.call, agree.model, looked.snapshot)
            if isinstance(other, ProxyError):
                return Verdict(False, "agree", f"{agree.model!r} could not be asked ({other.code})")
            plan = other
        mine = normalised(looked.said[0])
        for _ in range(agree.samples):
            said = await self._sample(looked, plan)
            if isinstance(said, ProxyError):
                return Verdict(False, "agree", f"a second answer of {plan.model!r} failed ({said.code})")
            if not mine or normalised(said) != mine:
                return Verdict(False, "agree", f"a second answer, of {plan.model!r}, is another one")
        return None

    async def _sample(self, looked: Looked, plan: Plan) -> Said | ProxyError:
        record, call = looked.record, looked.record.call
        leg = Leg("member", structs.replace(call, hedged=False))
        try:
            exchange, reading = await self._race.run(record, plan, looked.rules, leg=leg)
            await take(exchange, looked.rules, None, deadline=call.deadline, clock=self._clock)
            await put_down(exchange)
            said = self._dialect.said(reading.first)
        except ProxyError as error:
            return error
        return said[0] if said else Said()

    # --- a judge -------------------------------------------------------------------------------------------------

    async def _mark(self, looked: Looked, judge: Judge) -> float | Verdict:
        call, clock = looked.record.call, self._clock
        budget = self._budgets.get(call.route)
        if not budget.has_some(judge.usd_nanos_a_day, clock.now()):
            return Verdict(False, "judge", "the judge's budget of the day is used up")
        conversation = bytes((call.head.fields or {}).get("messages", call.raw)).decode("utf-8", "replace")
        body = grading.asked(judge.model, judge.rubric, conversation, looked.said[0])
        began_at = clock.now()
        reply = await self._side.ask(call, "chat", body, snapshot=looked.snapshot, seconds=judge.timeout_s)
        looked.record.waited(began_at, clock.now())
        if isinstance(reply, ProxyError):
            return Verdict(False, "judge", f"the judge could not be asked ({reply.code})")
        budget.spend(reply.cost_usd_nanos or 0)
        said = self._dialect.said(reply.body)
        given = grading.mark(said[0].text) if said else None
        return Verdict(False, "judge", "the judge gave no mark") if given is None else given

    # --- a verifier ----------------------------------------------------------------------------------------------

    async def _refuted(self, looked: Looked, verify: Verify) -> Verdict | None:
        call, now = looked.record.call, self._clock.now()
        request = UpstreamRequest("POST", verify.url, _HEADERS, msgspec.json.encode(_posted(looked)))
        try:
            with Alarm(min(call.deadline, now + verify.timeout_s)):
                found = await self._ask(request)
        except (TimeoutError, ProxyError):
            return Verdict(False, "verify", "the verifier did not answer")
        finally:
            looked.record.waited(now, self._clock.now())
        if found is None:
            return Verdict(False, "verify", "the verifier's answer cannot be read")
        return None if found.accepted else Verdict(False, "verify", found.reason[:REASON_CHARS] or "it was refuted")

    async def _ask(self, request: UpstreamRequest) -> _Found | None:
        response = await self._transport.send(request)
        body = b""
        try:
            while (data := await response.read()) and len(body) <= VERIFIED_BYTES_MAX:
                body += data
        finally:
            response.close()
        if response.status != 200 or len(body) > VERIFIED_BYTES_MAX:
            return None
        try:
            return msgspec.json.decode(body, type=_Found)
        except (ValueError, RecursionError):
            return None


_HEADERS: Final = {"Content-Type": "application/json", "Accept": "application/json"}


def _posted(looked: Looked) -> _Posted:
    call, said = looked.record.call, looked.said[0]
    return _Posted(
        call=call.id,
        agent=call.identity.agent,
        model=looked.member.model,
        request=msgspec.Raw(call.raw),
        answer=said.text,
        tool_calls=[{"name": one.name, "arguments": one.arguments} for one in said.tool_calls],
        run=call.identity.run,
    )


def _plan_of(call: Call, model: str, snapshot: Snapshot) -> Plan | ProxyError:
    """Of another configured model, for the same request."""
    named = structs.replace(call, head=structs.replace(call.head, model=model, fallbacks=()))
    return snapshot.planner.plan(named)
