from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pricing.book import Bill, explain
from proxy.errors import ProxyError
from proxy.state.ledger import Ledger
from proxy.state.ledger_queries import FILTERS, LedgerReports, run, spend
from proxy.state.ledger_rows import SCHEMA, TOKEN_CLASSES, insert
from proxy.state.report import SpendRow
from proxy.types import Attempt, Identity, Outcome, Usage
from tests import build
from tests.proxy.state.samples import attempt, call, outcome, outcomes, refused

DAY_S = 86_400.0


def file_of(*done: Outcome) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SCHEMA)
    insert(connection, 1, done)
    return connection


def reports(tmp_path: Path, *done: Outcome) -> LedgerReports:
    ledger = Ledger.open(tmp_path / "ledger.db")
    for one in done:
        ledger.append(one)
    return LedgerReports(ledger)


# --- spend


def key_of(by: str, done: Outcome, tried: Attempt | None) -> str | None:
    who = done.call.identity
    of_call = {"agent": who.agent, "model": done.call.model, "run": who.run, "key": who.key_id, "team": who.team}
    if by in of_call:
        return of_call[by]
    assert tried is not None
    return tried.target.id if by == "target" else tried.target.provider


def model_of_spend(by: str, all_done: list[Outcome]) -> dict[str | None, list[int]]:
    """calls, attempts, cost, unpriced calls, estimated cost, then the token classes."""
    calls: dict[str | None, set[int]] = defaultdict(set)
    unpriced: dict[str | None, set[int]] = defaultdict(set)
    sums: dict[str | None, list[int]] = defaultdict(lambda: [0] * (3 + len(TOKEN_CLASSES)))
    for number, done in enumerate(all_done):
        tries: tuple[Attempt | None, ...] = done.attempts or ((None,) if by not in ("provider", "target") else ())
        for tried in tries:
            key = stored(key_of(by, done, tried))
            calls[key].add(number)
            usage = tried.usage if tried and tried.usage else Usage()
            cost = tried.cost_usd_nanos if tried else 0
            if cost is None:
                unpriced[key].add(number)
            estimated = (cost or 0) if usage.source != "reported" else 0
            parts = [int(tried is not None), cost or 0, estimated, *(getattr(usage, name) for name in TOKEN_CLASSES)]
            sums[key] = [a + b for a, b in zip(sums[key], parts, strict=True)]
    return {
        key: [len(calls[key]), attempts, cost, len(unpriced[key]), estimated, *tokens]
        for key, (attempts, cost, estimated, *tokens) in sums.items()
    }


def stored(text: str | None) -> str | None:
    return text.encode("utf-8", "replace").decode() if text else None


def numbers(row: SpendRow) -> list[int]:
    tokens = [getattr(row.tokens, name) for name in TOKEN_CLASSES]
    return [row.calls, row.attempts, row.cost_usd_nanos, row.unpriced_calls, row.estimated_usd_nanos, *tokens]


@given(
    st.lists(outcomes(), max_size=12),
    st.sampled_from(("agent", "model", "run", "key", "team", "provider", "target")),
)
def test_spend_is_the_exact_sum_of_what_was_recorded_whatever_was_recorded(all_done: list[Outcome], by: str) -> None:
    answer = spend(file_of(*all_done), by, None, None)
    assert {row.key: numbers(row) for row in answer.rows} == model_of_spend(by, all_done)
    assert answer.total.cost_usd_nanos == sum(a.cost_usd_nanos or 0 for done in all_done for a in done.attempts)
    assert [row.cost_usd_nanos for row in answer.rows] == sorted((r.cost_usd_nanos for r in answer.rows), reverse=True)


async def test_the_total_counts_a_call_once_though_two_providers_tried_it(tmp_path: Path) -> None:
    answer = await reports(tmp_path, outcome(call(), attempt("x/m"), attempt("y/m", number=2))).spend("provider")
    assert [(row.key, row.calls) for row in answer.rows] == [("x", 1), ("y", 1)]
    assert (answer.total.calls, answer.total.attempts, answer.total.cost_usd_nanos) == (1, 2, 2_000)


async def test_the_share_of_money_that_rests_on_estimates_is_told(tmp_path: Path) -> None:
    estimated = attempt(cost=1_000, usage=Usage(output=5, source="estimated"))
    answer = await reports(tmp_path, outcome(call(), estimated, attempt(cost=3_000)), refused()).spend("agent")
    assert answer.total.estimated_share == 0.25
    nothing = await reports(tmp_path / "other", refused()).spend("agent")
    assert (nothing.total.estimated_share, nothing.total.calls, nothing.total.attempts) == (None, 1, 0)


async def test_spend_counts_calls_that_arrived_in_the_window(tmp_path: Path) -> None:
    asked = reports(tmp_path, *(outcome(call(str(day), at_s=day * DAY_S)) for day in range(4)))
    first = 1_700_000_000_000
    answer = await asked.spend("agent", first + 86_400_000, until_ms=first + 3 * 86_400_000)
    assert answer.total.calls == 2


async def test_an_unknown_dimension_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ProxyError, match="agent, model, run") as refusal:
        await reports(tmp_path).spend("1; DROP TABLE outcome")
    assert refusal.value.param == "by"


# --- agents, runs


async def test_agents_are_listed_with_their_runs_errors_and_cost(tmp_path: Path) -> None:
    done = (outcome(call("1", run="r1")), outcome(call("2", run="r2")), refused(call("3", run="r2")))
    (row,) = await reports(tmp_path, *done).agents()
    assert (row.agent, row.runs, row.summary.calls, row.summary.errors) == ("a", 2, 3, 1)
    assert (row.summary.input_tokens, row.summary.output_tokens, row.summary.cost_usd_nanos) == (20, 10, 2_000)


async def test_runs_come_latest_first_in_pages_that_neither_skip_nor_repeat(tmp_path: Path) -> None:
    order = ["r1", "r2", "r1", "r3", "r4", "r2", "r5"]
    asked = reports(tmp_path, *(outcome(call(str(n), run=name, at_s=n)) for n, name in enumerate(order)), outcome())
    pages: list[list[str]] = []
    before: int | None = None
    while True:
        page = await asked.runs(2, before=before)
        pages.append([row.run for row in page.rows])
        if page.before is None:
            break
        before = page.before
    assert pages == [["r5", "r2"], ["r4", "r3"], ["r1"]]


async def test_a_run_in_the_list_sums_all_its_calls(tmp_path: Path) -> None:
    done = [
        outcome(call("1", run="r", parent="p")),
        outcome(call("2", run="r", at_s=60.5, agent="b"), attempt(cost=None)),
    ]
    (row,) = (await reports(tmp_path, *done).runs(10)).rows
    assert (row.run, row.parent, row.agents) == ("r", "p", ["a", "b"])
    summary = row.summary
    assert (summary.calls, summary.wall_s, summary.cost_usd_nanos, summary.unpriced_calls) == (2, 62.5, 1_000, 1)
    assert (summary.first_at, summary.last_at) == ("2023-11-14T22:13:20.000Z", "2023-11-14T22:14:22.500Z")


async def test_runs_of_one_agent_hold_only_its_own_calls(tmp_path: Path) -> None:
    done = [outcome(call("1", run="shared", agent="a")), outcome(call("2", run="shared", agent="b"))]
    page = await reports(tmp_path, *done, outcome(call("3", run="other", agent="b"))).runs(10, agent="a")
    assert [(row.run, row.agents, row.summary.calls) for row in page.rows] == [("shared", ["a"], 1)]


async def test_a_run_is_a_tree_with_the_cost_of_its_children(tmp_path: Path) -> None:
    done = [
        outcome(call("plan", run="top"), duration_s=1.0),
        outcome(call("left", run="l", parent="top", at_s=1.0), duration_s=2.0),
        outcome(call("right", run="r", parent="top", at_s=1.0), duration_s=4.0),
        outcome(call("deep", run="rr", parent="r", at_s=5.0), attempt(cost=7), duration_s=1.0),
        outcome(call("sum", run="top", at_s=6.0), duration_s=1.0),
    ]
    tree = await reports(tmp_path, *done).run("top")
    assert tree is not None
    assert [child.run.run for child in tree.children] == ["l", "r"]
    assert [child.run.run for child in tree.children[1].children] == ["rr"]
    assert (tree.run.summary.cost_usd_nanos, tree.total_usd_nanos) == (2_000, 4_007)
    assert [one.request_id for one in tree.calls] == ["plan", "sum"]
    assert (tree.critical_path.seconds, tree.critical_path.request_ids) == (7.0, ["plan", "right", "deep", "sum"])
    assert tree.longest_step is not None and tree.longest_step.request_id == "right"
    assert not tree.truncated


async def test_a_run_known_only_as_a_parent_is_found_and_an_unknown_one_is_not(tmp_path: Path) -> None:
    asked = reports(tmp_path, outcome(call(run="child", parent="silent")))
    tree = await asked.run("silent")
    assert tree is not None and [child.run.run for child in tree.children] == ["child"]
    assert await asked.run("nobody") is None


def test_runs_that_name_each_other_as_parents_do_not_go_in_circles() -> None:
    file = file_of(
        outcome(call(run="x", parent="y")), outcome(call(run="y", parent="x")), outcome(call(run="x", parent="x"))
    )
    tree = run(file, "x")
    assert tree is not None and [child.run.run for child in tree.children] == ["y"]
    assert tree.children[0].children == []
    assert tree.truncated


def chain() -> Iterator[Outcome]:
    for depth in range(20):
        yield outcome(call(run=str(depth), parent=str(depth - 1) if depth else None))


def test_a_tree_is_cut_where_no_run_may_be() -> None:
    tree = run(file_of(*chain()), "0")
    depth = 0
    while tree is not None and tree.children:
        assert tree.truncated
        tree, depth = tree.children[0], depth + 1
    assert depth == 8


# --- requests


async def test_requests_come_latest_first_in_pages(tmp_path: Path) -> None:
    asked = reports(tmp_path, *(outcome(call(str(number))) for number in range(5)))
    first = await asked.requests({}, 3)
    second = await asked.requests({}, 3, before=first.before)
    assert [row.request_id for row in (*first.rows, *second.rows)] == ["4", "3", "2", "1", "0"]
    assert second.before is None


@pytest.mark.parametrize("name", sorted(FILTERS))
async def test_each_filter_keeps_only_its_own(tmp_path: Path, name: str) -> None:
    who = Identity(key_id="k2", agent="b", team="t2", run="r2")
    odd = replace(
        outcome(replace(build.call("m2"), id="odd", identity=who), attempt("x/y")),
        status=502,
        error_code="upstream_error",
        served_by="fallback",
    )
    wanted = {
        "agent": "b",
        "model": "m2",
        "run": "r2",
        "key": "k2",
        "team": "t2",
        "target": "x/y",
        "status": "502",
        "error": "upstream_error",
        "served_by": "fallback",
    }
    asked = reports(tmp_path, outcome(), odd, outcome(call("later")))
    assert [row.request_id for row in (await asked.requests({name: wanted[name]}, 10)).rows] == ["odd"]
    assert (await asked.requests({name: "' OR 1 --"}, 10)).rows == []


async def test_an_unknown_filter_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProxyError, match="unknown parameter agnet"):
        await reports(tmp_path).requests({"agnet": "a"}, 10)


async def test_a_request_in_the_list_carries_its_tokens_and_cost(tmp_path: Path) -> None:
    (row,) = (await reports(tmp_path, outcome(call(), attempt(), attempt(number=2, cost=None))).requests({}, 1)).rows
    assert (row.input_tokens, row.output_tokens, row.cost_usd_nanos, row.attempts) == (20, 10, None, 2)
    assert (row.at, row.model, row.target) == ("2023-11-14T22:13:20.000Z", "smart", "up/model")


def bill(price_id: str, provider: str, model: str, usage: Usage) -> Bill | None:
    assert (price_id, provider, model) == ("test", "up", "model")
    return explain(usage, build.PRICE)


async def test_one_request_tells_attempts_price_and_decision(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    tagged = replace(call("r"), identity=Identity(key_id="k", agent="a", tags=(("env", "prod"),)))
    ledger.append(outcome(tagged, attempt(usage=Usage(input_uncached=10, output=5)), replace(attempt(), usage=None)))
    detail = await LedgerReports(ledger, bill).request("r")
    assert detail is not None
    assert (detail.fields["agent"], detail.fields["at"]) == ("a", "2023-11-14T22:13:20.000Z")
    assert detail.tags == [("env", "prod")]
    assert [one.fields["position"] for one in detail.attempts] == [0, 1]
    price = detail.attempts[0].price
    assert price is not None and (price.usd_nanos, len(price.lines)) == (20_000, 2)
    assert detail.attempts[1].price is None
    assert detail.decision[0] == "planned: single over up/model | other/model (as configured)"
    assert await LedgerReports(ledger, bill).request("unknown") is None


async def test_a_request_is_found_by_the_id_that_its_upstream_gave_it(tmp_path: Path) -> None:
    with_id = replace(attempt(), upstream_request_id="req_upstream_7")
    asked = reports(tmp_path, outcome(call("mine"), with_id), outcome(call("other")))
    found = await asked.request("req_upstream_7")
    assert found is not None
    assert found.fields["request_id"] == "mine"
    assert await asked.request("req_upstream_8") is None


async def test_an_attempt_charged_as_held_says_so(tmp_path: Path) -> None:
    held = attempt(usage=Usage(input_uncached=10, output=500, source="estimated", flags=("held",)))
    detail = await reports(tmp_path, outcome(call("r"), held)).request("r")
    assert detail is not None
    assert any("all that was held for it is charged" in sentence for sentence in detail.decision)
