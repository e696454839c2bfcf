"""A quote says what would happen, and nothing happens."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from msgspec import Raw, json
from msgspec.structs import replace

from policies.accounts import Accounts
from pricing.book import hold_usd_nanos
from proxy.assembly import Assembly
from proxy.clock import SystemClock, loop_time
from proxy.config.load import load
from proxy.desks.ledger import LedgerDesk
from proxy.errors import ProxyError
from proxy.money.budgets import Budgets
from proxy.money.quoting import QuoteRequest
from proxy.runs.registry import RunCommand, Runs
from proxy.state.ledger import Ledger
from proxy.state.quote_report import Quote
from proxy.types import Amounts, Head, Identity, Usage
from tests import build
from tests.money import News
from tests.proxy.state.samples import attempt, call, outcome

VALUES = """
providers: {sim: {kind: simulated}}
models:
  large: {targets: [sim/large], cheaper: small}
  small: sim/small
  both: {targets: [sim/large, sim/small]}
  free: sim/free
  panel: {mode: quorum, members: [small, large], ask: 3}
  council: {mode: debate, members: [small, large], rounds: 2, max_cost_ratio: 15}
  frugal: {mode: debate, members: [small, large], rounds: 2, max_cost_ratio: 1.5}
pricing:
  overrides:
    sim/large: {input_usd_per_mtok: 10, output_usd_per_mtok: 20}
    sim/small: {input_usd_per_mtok: 1, output_usd_per_mtok: 2}
agents:
  planner: {budget: [{usd: 0.01, per: day}], on_budget: [cheaper]}
  narrow: {models: [small]}
  blocked: {budget: [{usd: 0, per: day}]}
  tight: {budget: [{usd: 0.004, per: day}]}
  brief: {budget: [{tokens: 900, per: day}]}
  modest: {budget: [{usd: 0.005, per: day}]}
  careful: {budget: [{usd: 0.001, per: run, hold: strict}]}
"""
BODY = {"model": "large", "max_tokens": 100, "messages": [{"role": "user", "content": "x" * 400}]}


class Gate:
    def __init__(self, folder: Path) -> None:
        file = folder / "headgate.yaml"
        file.write_text(VALUES)
        self.clock = SystemClock(1, now=loop_time)
        self.assembly = Assembly(load(file, {}, {"data_dir": str(folder)}), self.clock)
        self.ledger = Ledger.open(folder / "ledger.db")
        self.news = News()
        self.budgets = Budgets(Accounts(self.assembly.present.rulebook), self.clock, self.news)
        self.runs = Runs(self.clock)
        self.desk = LedgerDesk(self.ledger, self.budgets, runs=self.runs, assembly=self.assembly)

    async def quote(
        self,
        body: dict[str, object] | None = None,
        *,
        agent: str | None = None,
        run: str | None = None,
        key: str | None = None,
    ) -> Quote:
        asked = QuoteRequest(Raw(json.encode(body or BODY)), agent=agent, run=run, key_id=key)
        answer = await self.desk.services.quote(asked)
        assert isinstance(answer, Quote)
        return answer

    async def hold(self, usd_nanos: int) -> None:
        await self.budgets.reserve("c", ("agent:planner",), lambda left: Amounts(usd_nanos), ttl_s=60.0)


async def test_what_is_held_is_what_a_call_would_hold(tmp_path: Path) -> None:
    found = await Gate(tmp_path).quote()
    (target,) = found.targets
    assert target.price is not None and target.price_id == target.price.id
    assert (found.model, found.agent, found.accounts) == ("large", "unattributed", ("key:open", "agent:unattributed"))
    assert found.input_tokens_estimate == -(-len(json.encode(BODY)) // 4)
    assert (found.admitted, target.output_tokens_max, target.clamped, target.expected) == (True, 100, False, None)
    assert target.hold_usd_nanos >= hold_usd_nanos(target.price, found.input_tokens_estimate, 100)


async def test_nothing_is_held_counted_or_told(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    before = gate.budgets.left(("agent:planner",))
    await gate.quote(agent="planner", run="r")
    await gate.quote(agent="blocked")
    assert gate.budgets.left(("agent:planner",)) == before
    assert (gate.budgets.live, gate.runs.knows("r"), gate.news.refusals) == (0, False, [])


async def test_each_target_has_its_own_hold_and_price(tmp_path: Path) -> None:
    large, small = (await Gate(tmp_path).quote(BODY | {"model": "both"})).targets
    assert (large.target, small.target) == ("sim/large", "sim/small")
    assert large.hold_usd_nanos == 10 * small.hold_usd_nanos


async def test_a_limit_that_refuses_is_told_as_a_call_would_hear_it(tmp_path: Path) -> None:
    found = await Gate(tmp_path).quote(agent="blocked")
    (target,) = found.targets
    assert not found.admitted and found.refused is None
    assert target.refused is not None
    assert (target.refused.code, target.refused.status) == ("budget_exceeded", 429)
    assert target.refused.retry_after_s is not None
    (limit,) = target.refused.limits
    assert (limit["account"], limit["limit"], limit["reason"]) == ("agent:blocked", "0.00", "floor")


async def test_near_the_end_of_a_budget_the_answer_is_shorter_and_the_plan_cheaper(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    await gate.hold(9_000_000)
    found = await gate.quote(agent="planner")
    (target,) = found.targets
    assert found.degraded == ("cheaper",)
    assert target.target == "sim/small" and found.plan is not None and "cheaper" in found.plan
    await gate.hold(0)
    long = await gate.quote(BODY | {"max_tokens": 100_000}, agent="planner")
    assert long.targets[0].clamped and long.targets[0].output_tokens_max < 100_000


@pytest.mark.parametrize(
    ("body", "agent", "code"),
    [
        (BODY | {"model": "nope"}, None, "model_not_found"),
        (BODY, "narrow", "not_allowed"),
        (BODY | {"model": "free"}, None, "unpriced_model"),
    ],
)
async def test_a_refusal_whatever_the_target_is_an_answer(
    body: dict[str, object], agent: str | None, code: str, tmp_path: Path
) -> None:
    found = await Gate(tmp_path).quote(body, agent=agent)
    assert found.refused is not None
    assert (found.refused.code, found.admitted, found.targets) == (code, False, [])


async def test_a_request_that_no_model_would_be_sent_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProxyError, match="messages"):
        await Gate(tmp_path).quote({"model": "large"})


async def test_a_killed_run_is_refused_and_so_is_one_below_it(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    gate.runs.of(Identity(key_id="open", agent="a", run="child", parent_run="top"))
    assert (await gate.quote(run="child")).accounts[-2:] == ("run:key:open/top", "run:key:open/child")
    await gate.runs.apply(RunCommand("kill", "key:open/top", "1", "me", 0.0))
    for run in ("top", "child"):
        refused = (await gate.quote(run=run)).refused
        assert refused is not None and refused.code == "run_killed"


async def test_a_run_is_that_of_the_tenant_who_asks(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    record, _ = gate.assembly.keys.create("planner", team="core")
    await gate.runs.apply(RunCommand("kill", "team:core/r", "1", "me", 0.0))
    found = await gate.quote(key=record.id, run="r")
    assert found.accounts[-1] == "run:team:core/r"
    assert found.refused is not None and found.refused.code == "run_killed"
    assert (await gate.quote(run="r")).refused is None


async def test_a_key_says_who_calls_and_what_it_may(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    record, _ = gate.assembly.keys.create("planner", team="core", models=("small",), budget=("0.001/day",))
    found = await gate.quote(key=record.id, agent="other")
    assert found.agent == "planner" and found.accounts == ("team:core", f"key:{record.id}", "agent:planner")
    assert found.refused is not None and found.refused.code == "not_allowed"
    small = await gate.quote(BODY | {"model": "small", "max_tokens": 10_000}, key=record.id)
    assert small.targets[0].clamped
    gate.assembly.keys.revoke(record.id)
    with pytest.raises(ProxyError, match="no key of this id"):
        await gate.quote(key=record.id)


async def test_what_answers_usually_cost_is_learnt_from_the_ledger(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    for number in range(40):
        of = replace(call(str(number), agent="planner"), head=Head(model="large"), input_tokens_estimate=100)
        done = attempt("sim/large", usage=Usage(input_uncached=100, output=30 if number % 10 else 90))
        gate.ledger.append(outcome(of, done))
    (target,) = (await gate.quote(agent="planner")).targets
    likely = target.expected
    assert likely is not None and target.price is not None
    assert likely.output_tokens_q50 == 30 and 90 <= likely.output_tokens_q95 <= 96
    cost = replace(build.usage(), input_uncached=likely.input_tokens, output=30)
    assert likely.usd_nanos_q50 == cost.input_total * 10_000 + 30 * 20_000
    assert (await gate.quote(agent="other")).targets[0].expected is None
    short = (await gate.quote(BODY | {"max_tokens": 40}, agent="planner")).targets[0].expected
    assert short is not None and short.output_tokens_q95 == 40


async def test_a_quote_opens_no_accounts(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    for agent in ("planner", "blocked", "planner"):
        await gate.quote(agent=agent)
    assert len(gate.budgets.accounts) == 0
    path = ("key:open", "agent:planner")
    reserved = await gate.budgets.reserve("c", path, lambda left: Amounts(5), ttl_s=60.0)
    await gate.quote(agent="planner")
    assert not isinstance(reserved, ProxyError)
    gate.budgets.post(reserved, Amounts(5))
    await gate.quote(agent="planner")
    assert [standing.totals.spent for standing in gate.budgets.standing("agent:planner")] == [5]


async def test_of_a_quorum_every_member_is_listed_and_the_first_vote_is_held_together(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    (alone,) = (await gate.quote()).targets
    found = await gate.quote(BODY | {"model": "panel"})
    assert [target.target for target in found.targets] == ["sim/small", "sim/large"]
    small, large = (target.hold_usd_nanos for target in found.targets)
    assert found.together_usd_nanos == small + large + small  # three are asked, in turn
    assert alone.hold_usd_nanos <= large  # of another model's name
    assert (await gate.quote()).together_usd_nanos is None


async def test_a_vote_without_money_for_all_of_them_is_quoted_as_it_would_be_held(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    whole = await gate.quote(BODY | {"model": "panel"})
    assert (whole.members, whole.members_paid) == (3, 3)
    two = await gate.quote(BODY | {"model": "panel"}, agent="modest")
    assert (two.members, two.members_paid, two.admitted) == (3, 2, True)
    assert two.together_usd_nanos == sum(target.hold_usd_nanos for target in two.targets)
    one = await gate.quote(BODY | {"model": "panel"}, agent="careful", run="r")
    assert (one.members_paid, one.admitted, [target.target for target in one.targets]) == (1, True, ["sim/small"])
    assert one.together_usd_nanos is not None and one.together_usd_nanos <= 1_000_000
    brief = await gate.quote(BODY | {"model": "panel"}, agent="brief")
    assert (brief.members_paid, brief.admitted) == (2, True), "not for money alone"
    none = await gate.quote(BODY | {"model": "panel"}, agent="blocked")
    assert (none.admitted, none.together_usd_nanos, len(none.targets)) == (False, None, 1)
    alone = await gate.quote()
    assert (alone.members, alone.members_paid) == (None, None)


async def test_a_gate_that_is_closed_has_no_open_key(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    record, _ = gate.assembly.keys.create("planner")
    gate.assembly.keys.revoke(record.id)
    assert (await gate.quote(agent="planner")).accounts == ("agent:planner",)


async def test_of_a_debate_every_round_is_held_beforehand_or_it_is_refused(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    found = await gate.quote(BODY | {"model": "council"})
    assert [target.target for target in found.targets] == ["sim/small", "sim/large"]
    one_round = sum(target.hold_usd_nanos for target in found.targets)
    assert found.together_usd_nanos is not None
    assert found.together_usd_nanos > 2 * one_round, "the second round's prompts have grown"
    tight = await gate.quote(BODY | {"model": "council"}, agent="tight")
    assert tight.refused is not None
    assert (tight.refused.code, tight.admitted, tight.targets) == ("budget_exceeded", False, [])
    assert (await gate.quote(BODY | {"model": "panel"}, agent="tight")).admitted, "a quorum asks fewer of them"


@pytest.mark.parametrize(
    ("body", "endpoint", "says"),
    [
        ({"model": "council", "tools": [{"type": "function", "function": {"name": "f"}}]}, "chat", "calls no tools"),
        ({"model": "panel", "input": "x"}, "embeddings", "it answers chats"),
        ({"model": "frugal"}, "chat", "could cost"),
    ],
)
async def test_what_several_models_do_not_answer_is_refused_as_the_call_would_be(
    body: dict[str, object], endpoint: Literal["chat", "embeddings"], says: str, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    asked = QuoteRequest(Raw(json.encode(BODY | body)), endpoint=endpoint)
    found = await gate.desk.services.quote(asked)
    assert isinstance(found, Quote)
    assert found.refused is not None and says in found.refused.message
    assert (found.admitted, found.together_usd_nanos) == (False, None)
