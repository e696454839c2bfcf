from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from msgspec.structs import replace

from proxy.state.ledger_insert import insert
from proxy.state.ledger_queries import requests
from proxy.state.ledger_rows import entry
from proxy.state.ledger_schema import SCHEMA
from proxy.telemetry.live import CALLS_SHOWN_MAX, SERIES_S, Live, shown_call
from proxy.telemetry.live_report import Delta, Event, Gauges, Totals
from proxy.telemetry.tally import NAMES_MAX, ROWS_SHOWN_MAX, quantiles
from proxy.tenancy import run_of
from proxy.types import Outcome
from tests.proxy.state.samples import PLAN, attempt, call, outcome, outcomes, refused

NOTHING = Gauges()
ASKED = outcome(call("z"), attempt("up/b"), attempt("up/a", number=2), attempt("up/b", number=3), attempt("up/c"))


def told(live: Live, outcomes: Iterable[Outcome], at_ms: int = 1_000) -> Delta:
    live.fold([entry(each) for each in outcomes])
    return live.tick(at_ms, NOTHING)


def names(rows: list[Totals]) -> list[str]:
    return [row.name for row in rows]


def test_runs_of_two_tenants_with_one_name_are_two_rows() -> None:
    calls = [call(run="r", team=team) for team in (None, "red", "red")]
    delta = told(Live(0), [outcome(each) for each in calls])
    assert [(row.name, row.calls) for row in delta.runs] == [("key:k/r", 1), ("team:red/r", 2)]
    assert [row.name for row in delta.runs] == sorted({str(run_of(each.identity)) for each in calls})


def test_a_call_counts_for_its_agent_its_route_its_run_and_the_targets_of_its_attempts() -> None:
    two = outcome(call(agent="a", run="r", parent="p"), attempt(cost=300), attempt("other/model", cost=400, number=2))
    delta = told(Live(0), [two])
    (agent,), (run,) = delta.agents, delta.runs
    assert (agent.name, agent.calls, agent.cost_usd_nanos) == ("a", 1, 700)
    assert (run.name, run.agent, run.parent, run.cost_usd_nanos) == ("key:k/r", "a", "p", 700)
    assert names(delta.routes) == [two.call.route]
    assert [(row.name, row.calls, row.cost_usd_nanos) for row in delta.targets] == [
        ("other/model", 1, 400),
        ("up/model", 1, 300),
    ]
    assert delta.totals.input_tokens == sum(each.usage.input_total for each in two.attempts if each.usage)
    assert delta.totals.output_tokens == sum(each.usage.output_total for each in two.attempts if each.usage)


def test_a_refusal_is_no_failure() -> None:
    failed = replace(outcome(), error_code="upstream_timeout", error_source="upstream")
    totals = told(Live(0), [outcome(), refused(), failed]).totals
    assert (totals.calls, totals.refused, totals.failed) == (3, 1, 1)


def test_a_hedge_counts_at_the_target_it_went_to() -> None:
    hedged = outcome(call(), attempt(), replace(attempt("other/model", number=2), role="hedge"))
    assert {row.name: row.hedges for row in told(Live(0), [hedged]).targets} == {"up/model": 0, "other/model": 1}


def test_rows_are_absolute_and_only_those_that_changed_are_told() -> None:
    live = Live(0)
    told(live, [outcome(call(agent="a")), outcome(call(agent="b"))])
    delta = told(live, [outcome(call(agent="b"))], 2_000)
    assert [(row.name, row.calls) for row in delta.agents] == [("b", 2)]
    assert (delta.second.calls, delta.totals.calls) == (1, 3)
    assert told(live, [], 3_000).agents == []


def test_of_a_busy_second_the_latest_calls_are_shown_and_the_others_counted() -> None:
    many = [outcome(call(f"id-{number}")) for number in range(CALLS_SHOWN_MAX + 7)]
    delta = told(Live(0), many)
    assert [row.request_id for row in delta.calls[:2]] == ["id-56", "id-55"]
    assert (len(delta.calls), delta.calls_left_out, delta.second.calls) == (CALLS_SHOWN_MAX, 7, CALLS_SHOWN_MAX + 7)


@pytest.mark.parametrize(
    "one",
    [
        refused(),
        outcome(call("x", agent="a", run="r"), attempt(cost=None)),
        replace(outcome(call("y"), attempt(), attempt("other/model", cost=7, number=2)), first_event_s=0.25),
        replace(ASKED, plan=replace(PLAN, mode="quorum")),
        replace(ASKED, plan=replace(PLAN, mode="cascade")),
        replace(refused(), plan=replace(PLAN, mode="debate")),
    ],
)
def test_a_call_is_shown_as_the_ledger_lists_it(one: Outcome) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SCHEMA)
    insert(connection, 1, [entry(one)], b"")
    (listed,) = requests(connection, {}, 1, window=("1", []), before=None).rows
    assert shown_call(entry(one)) == listed


def test_first_tokens_of_streams_are_those_of_the_last_minute() -> None:
    live = Live(0)
    stream = replace(outcome(), first_event_s=0.5)
    ended_ms = int((stream.call.arrived_wall + stream.duration_s) * 1000)
    assert told(live, [stream], ended_ms).second.first_token_p95_s == 0.5
    assert told(live, [], ended_ms + 60_000).second.first_token_p95_s == 0.5
    assert told(live, [], ended_ms + 60_001).second.first_token_p95_s is None
    plain = replace(stream, call=replace(stream.call, head=replace(stream.call.head, stream=False)))
    assert told(Live(0), [plain], ended_ms).second.first_token_p95_s is None


def test_everything_is_bounded() -> None:
    live = Live(0)
    told(live, [outcome(call(agent=f"a{number}", run=f"r{number}")) for number in range(NAMES_MAX + 5)])
    for second in range(SERIES_S + 5):
        delta = told(live, [], second)
        live.noted(Event(second, "breaker", "info", {}))
    snapshot = live.snapshot(9)
    assert (len(snapshot.agents), len(snapshot.runs)) == (ROWS_SHOWN_MAX, ROWS_SHOWN_MAX)
    assert len(snapshot.series) == SERIES_S
    assert snapshot.agents[0].name == f"a{NAMES_MAX + 4}", "what was used last comes first"
    assert (snapshot.totals, snapshot.series[-1], snapshot.events[0].at_ms) == (delta.totals, delta.second, second)


@pytest.mark.parametrize(
    "strange", [{"agent": "a\ud800"}, {"run": "\udfff"}, {"step": 2**70}, {"agent": "x" * 300, "run": "\0"}]
)
def test_broken_headers_do_not_end_the_feed(strange: dict[str, object]) -> None:
    base = call()
    live = Live(0)
    delta = told(live, [outcome(replace(base, identity=replace(base.identity, **strange)))])
    assert msgspec.json.encode(delta) and msgspec.json.encode(live.snapshot(1)) and delta.totals.calls == 1


@given(outcomes())
def test_whatever_a_client_names_can_be_sent(strange: Outcome) -> None:
    live = Live(0)
    assert msgspec.json.encode(told(live, [strange])) and msgspec.json.encode(live.snapshot(1))


def test_quantiles_are_values_that_were_seen() -> None:
    assert quantiles([]) == (None, None)
    assert quantiles([3.0]) == (3.0, 3.0)
    assert quantiles(float(value) for value in range(101)) == (50.0, 95.0)
