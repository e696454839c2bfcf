"""What a call would do and cost, were it sent now: the plan, each target's hold and likely cost, and who would refuse.

It goes the way of a call up to the hold, and takes nothing: no limit is debited, nothing is sent, no run is begun. Not
asked are what lasts for moments only: rates, places at targets, calls in front of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated, Final, Literal

from msgspec import Meta, Raw, Struct
from msgspec.structs import replace

from policies import budget, gates
from policies.budget import Allowance, allowance
from policies.estimate import Expected as Likely
from policies.estimate import Experience, Sample
from policies.run_refusal import run_stopped
from policies.runs import Stop
from policies.vote import VoteRules
from pricing.book import cost_usd_nanos
from pricing.tokens import input_estimate
from proxy.clock import Clock
from proxy.dialects.base import Dialect
from proxy.errors import ProxyError
from proxy.execution.debate import check, worst_case
from proxy.execution.occupancy import Occupancy
from proxy.execution.quorum import check_endpoint, member_plans
from proxy.execution.stake import Asked, Stake
from proxy.money.budgets import Budgets
from proxy.runs.registry import Runs
from proxy.snapshot import Snapshot
from proxy.state.export import Seen
from proxy.state.quote_report import Expected, Quote, Refused, TargetQuote
from proxy.tenancy import run_of
from proxy.types import Amounts, Call, Identity, KeyRecord, Plan, Target, Usage

ANCESTORS_MAX: Final = 8
UNATTRIBUTED: Final = "unattributed"
OPEN_KEY: Final = "open"
OPEN_ACCOUNT: Final = f"key:{OPEN_KEY}"

Name = Annotated[str, Meta(min_length=1, max_length=128)]
Answers = Callable[[str, str], Awaitable[list[Seen]]]  # of an agent, to what it calls a model


class QuoteRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /quote: a request as it would be sent, and by whom."""

    body: Raw
    endpoint: Literal["chat", "completions", "embeddings", "responses", "moderations", "rerank"] = "chat"
    agent: Name | None = None
    team: Name | None = None
    key_id: Name | None = None
    run: Name | None = None


class Present(Struct, frozen=True):
    """What a quote goes by."""

    snapshot: Callable[[], Snapshot]
    key: Callable[[str], KeyRecord | None]  # a stored key by its id
    open: Callable[[], bool]  # whether calls without a key are let in
    budgets: Budgets
    runs: Runs
    clock: Clock
    dialect: Dialect
    answers: Answers


class Together(Struct, frozen=True):
    """Of several that answer one call: what is held for them before the first is asked, and of a vote who is asked."""

    usd_nanos: int | None = None
    asked: tuple[Plan, ...] = ()
    members: int | None = None
    paid: int = 0


ALONE: Final = Together()


class Quoter:
    def __init__(self, present: Present) -> None:
        self._present = present

    def __repr__(self) -> str:
        return f"Quoter({self._present.budgets!r})"

    async def quote(self, asked: QuoteRequest) -> Quote:
        """Raises ProxyError for a request that cannot be read, or a key that is not known."""
        present, call = self._present, self._call(asked)
        usual = _experience(call, await present.answers(call.identity.agent, call.model))
        path = budget.path(call, self._runs(run_of(call.identity)))
        plan = self._plan(call, path, usual)
        together = self._together(call, plan, path, usual) if isinstance(plan, Plan) else ALONE
        if isinstance(together, ProxyError):
            plan, together = together, ALONE
        made = plan if isinstance(plan, Plan) else None
        plans = () if made is None else together.asked or made.members or (made,)
        asked_of = [(target, plan) for plan in plans for target in plan.steps[0]]
        targets = [self._target(call, target, plan, path=path, usual=usual) for target, plan in asked_of]
        present.budgets.dismiss(path)  # nothing has waited since the first question, so nobody else can have come
        return Quote(
            model=call.model,
            agent=call.identity.agent,
            accounts=path if asked.key_id or present.open() else tuple([name for name in path if name != OPEN_ACCOUNT]),
            input_tokens_estimate=call.input_tokens_estimate,
            choices=call.head.choices,
            admitted=any(target.refused is None for target in targets),
            refused=_refused(plan) if isinstance(plan, ProxyError) else None,
            plan=made.reason if made else None,
            together_usd_nanos=together.usd_nanos,
            members=together.members,
            members_paid=None if together.members is None else together.paid,
            degraded=made.degraded if made else (),
            targets=targets,
        )

    def _call(self, asked: QuoteRequest) -> Call:
        present, raw = self._present, bytes(asked.body)
        head = present.dialect.read(asked.endpoint, raw, "application/json")
        who, snapshot = self._identity(asked), present.snapshot()
        route = snapshot.planner.routes.find(head.model)
        id, now = present.clock.id(), present.clock.now()
        return Call(
            id=id,
            endpoint=asked.endpoint,
            dialect="openai",
            route="" if route is None else route.name,
            head=head,
            raw=raw,
            identity=who,
            arrived_at=now,
            arrived_wall=present.clock.wall(),
            deadline=now + snapshot.rules(who.agent).deadline_s,
            input_tokens_estimate=input_estimate(raw),
            trace_id=id,
        )

    def _identity(self, asked: QuoteRequest) -> Identity:
        """What a key says of its agent and team goes before what is asked for, as with a call."""
        key = KeyRecord(OPEN_KEY) if asked.key_id is None else self._present.key(asked.key_id)
        if key is None:
            raise ProxyError("invalid_request", "no key of this id is stored and live", status=404, param="key_id")
        agent = key.agent or asked.agent or UNATTRIBUTED
        return Identity(key.id, agent, team=key.team or asked.team, run=asked.run, models=key.models)

    def _runs(self, run: str | None) -> tuple[str, ...]:
        """Of the run and of all above it, the topmost first."""
        accounts: list[str] = []
        while run is not None and len(accounts) < ANCESTORS_MAX:
            accounts.append(f"run:{run}")
            run = self._present.runs.state(run).parent
        return tuple(reversed(accounts))

    def _plan(self, call: Call, path: tuple[str, ...], usual: Experience) -> Plan | ProxyError:
        """In the order of the pipeline."""
        snapshot, run = self._present.snapshot(), run_of(call.identity)
        rules = snapshot.rules(call.identity.agent)
        refusal = self._stopped(run) if run is not None else None
        if refusal is None and call.route:
            refusal = gates.allowed(call, rules.models, snapshot.planner.routes)
        pressure = self._present.budgets.pressure(path)
        return refusal or snapshot.planner.plan(call, pressure, ladder=rules.on_budget, usual=partial(_usual, usual))

    def _together(self, call: Call, plan: Plan, path: tuple[str, ...], usual: Experience) -> Together | ProxyError:
        """What is held before the first of several members is asked."""
        stake = Stake(self._present.clock, usual)
        try:
            asked = self._members(call, plan, stake)
        except ProxyError as error:
            return error
        if not asked:
            return ALONE
        if plan.mode == "quorum":
            return self._vote(asked, path, stake)
        held = self._held(asked, path, stake)
        return self._present.budgets.refusal(path, held) or Together(held.usd_nanos)

    def _vote(self, asked: Sequence[Asked], path: tuple[str, ...], stake: Stake) -> Together:
        """As the quorum does: as many as can be paid for, and the first of them in any case."""
        budgets = self._present.budgets
        paid = stake.payable(budgets.left(path).usd_nanos, asked, self._present.snapshot().providers)
        while paid and budgets.refusal(path, self._held(asked[:paid], path, stake)) is not None:
            paid -= 1
        held = self._held(asked[:paid], path, stake).usd_nanos if paid else None
        due = tuple(dict.fromkeys([plan for _, plan in asked[: max(1, paid)]]))
        return Together(held, due, len(asked), max(1, paid))

    def _held(self, asked: Sequence[Asked], path: tuple[str, ...], stake: Stake) -> Amounts:
        return stake.together(asked, self._present.snapshot().providers, self._present.budgets.left(path))

    def _members(self, call: Call, plan: Plan, stake: Stake) -> Sequence[Asked]:
        """Raises ProxyError, as the call would."""
        snapshot = self._present.snapshot()
        votes = snapshot.votes.get(plan.model, VoteRules())
        if plan.mode == "quorum":
            check_endpoint(call, plan)
            return [(call, each) for each in member_plans(plan, votes.sizes[0])]
        if plan.mode == "debate":
            check(call, plan)
            dialect, providers = self._present.dialect, snapshot.providers
            return worst_case((call, plan), votes, stake=stake, dialect=dialect, providers=providers).asked
        return ()

    def _stopped(self, run: str) -> ProxyError | None:
        state = self._present.runs.state(run)
        if state.state == "killed" or state.state == "paused":
            return run_stopped(Stop(state.stopped_by or run, state.state))
        return None

    def _target(
        self, call: Call, target: Target, plan: Plan | None, *, path: tuple[str, ...], usual: Experience
    ) -> TargetQuote:
        budgets = self._present.budgets
        likely = self._likely(call, target, usual)
        most = plan.output_tokens_max if plan else None
        held = allowance(call, target, likely, budgets.left(path), output_max=most)
        expected = None
        if likely.q50 is not None and likely.q95 is not None:
            expected = _expected(call, target, held, likely=likely, quantiles=(likely.q50, likely.q95))
        refusal = budgets.refusal(path, held.amounts)
        return TargetQuote(
            target=target.id,
            output_tokens_max=held.output_limit,
            clamped=held.clamped and held.output_limit < (call.head.output_tokens_max or held.output_limit + 1),
            hold_usd_nanos=held.amounts.usd_nanos,
            price_id=target.price.id if target.price else None,
            price=target.price,
            expected=expected,
            refused=None if refusal is None else _refused(refusal),
        )

    def _likely(self, call: Call, target: Target, usual: Experience) -> Likely:
        likely, now = usual.expected(call, target), self._present.clock.now()
        meter = self._present.snapshot().providers[target.provider].gpu
        occupancy = None if meter is None else Occupancy.of(meter, target)
        if occupancy is None:
            return likely
        return occupancy.foresee(likely, usual, left_s=call.deadline - now, now=now)


def _experience(call: Call, seen: list[Seen]) -> Experience:
    """What a process that has served these calls would have learnt."""
    learnt = Experience()
    for each in seen:
        before = replace(call, input_tokens_estimate=each.input_tokens_estimate)
        target = Target(id=each.target, provider="", model="", price=None)  # goes by its id alone
        learnt.ended(before, target, Sample(each.usage, whole=True))
    return learnt


def _usual(learnt: Experience, call: Call, target: Target) -> int | None:
    return learnt.expected(call, target).q50


def _expected(call: Call, target: Target, held: Allowance, *, likely: Likely, quantiles: tuple[int, int]) -> Expected:
    q50, q95 = (min(tokens, held.output_limit) for tokens in quantiles)
    costs = [_cost(target, likely, tokens * call.head.choices) for tokens in (q50, q95)]
    return Expected(likely.input_tokens, q50, q95, usd_nanos_q50=costs[0], usd_nanos_q95=costs[1])


def _cost(target: Target, likely: Likely, output_tokens: int) -> int | None:
    if likely.time is not None:
        return likely.time.likely_usd_nanos(output_tokens)
    usage = Usage(input_uncached=likely.input_tokens, output=output_tokens)
    return None if target.price is None else cost_usd_nanos(usage, target.price)


def _refused(error: ProxyError) -> Refused:
    limits = error.details.get("limits", ())
    shown = tuple(limits) if isinstance(limits, list) else ()
    return Refused(error.code, error.status, error.message, error.retry_after_s, shown)
