from __future__ import annotations

import sqlite3
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pricing.book import Bill, explain
from pricing.gpu import GpuRate
from proxy.errors import ProxyError
from proxy.money.gpus import GpuBooked
from proxy.state.ledger import Ledger
from proxy.state.ledger_insert import insert
from proxy.state.ledger_queries import FILTERS, LedgerReports, spend
from proxy.state.ledger_schema import SCHEMA, TOKEN_CLASSES
from proxy.state.report import Charged, IdleGpu, SpendRow
from proxy.tenancy import run_of
from proxy.types import Attempt, Charge, Identity, Outcome, Period, Usage
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
    of_call: dict[str, str | None] = {"agent": who.agent, "model": done.call.model, "key": who.key_id, "team": who.team}
    of_call["run"] = run_of(who)
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
    whole = {row.key if row.tenant is None else f"{row.tenant}/{row.key}": numbers(row) for row in answer.rows}
    assert whole == model_of_spend(by, all_done)
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


async def test_attempts_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    ended = [attempt(number=number) for number in (1, 3, 2)]
    detail = await reports(tmp_path, outcome(call("r"), *ended)).request("r")
    assert detail is not None
    assert [one.fields["number"] for one in detail.attempts] == [1, 2, 3]


async def test_a_request_tells_what_it_took_from_limits_and_its_hash_in_digits(tmp_path: Path) -> None:
    charge = Charge(Period("run:r", "usd", "run", 0, "agent:a"), 1_000, 7)
    detail = await reports(tmp_path, replace(outcome(call("r")), charges=(charge,))).request("r")
    assert detail is not None
    assert detail.charges == [Charged("run:r", "usd", "run", 0, "agent:a", 1_000, 7)]
    assert len(bytes.fromhex(str(detail.fields["hash"]))) == 32
    assert "charges" not in detail.fields


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


# --- engines of one's own


def booked(price: int, charged: int) -> GpuBooked:
    return GpuBooked("ops", "1800.5", "450.0", 7, price, charged, idle_usd_nanos=max(0, price - charged))


async def test_spend_tells_the_time_of_engines_beside_the_calls(tmp_path: Path) -> None:
    timed = replace(attempt(usage=Usage(source="estimated")), gpu_s=0.5)
    asked = reports(tmp_path, outcome(None, timed))
    assert (await asked.spend("agent")).idle_gpus == []
    for provider, price, charged in (("a", 100, 40), ("b", 900, 100), ("a", 50, 60)):
        asked._ledger.append_event("gpu", provider, booked(price, charged))
    asked._ledger.append_event("run", "r", {"idle_usd_nanos": 5})
    found = await asked.spend("model")
    assert found.idle_gpus == [IdleGpu("b", 1_800.5, 450.0, 900, 100, 800), IdleGpu("a", 3_601.0, 900.0, 150, 100, 60)]
    assert (found.total.cost_usd_nanos, found.total.estimated_usd_nanos) == (1_000, 0)  # time was measured
    assert (await asked.spend("model", until_ms=1_000)).idle_gpus == []


async def test_a_request_says_how_its_time_became_money(tmp_path: Path) -> None:
    price = GpuRate(2_500_000_000).price
    at = replace(build.target("gpu-a/qwen"), price=price)
    timed = replace(attempt(cost=1_000_000), target=at, gpu_s=0.5, idle_usd_nanos=652_777)
    found = await reports(tmp_path, outcome(None, timed)).request("req-1")
    assert found is not None
    assert found.attempts[0].price is None
    assert (found.attempts[0].fields["gpu_s"], found.attempts[0].fields["price_id"]) == (0.5, "gpu-694445")
    assert found.decision[2] == (
        "attempt 1: its share of the time of gpu-a is 0.500000 s, at $0.000694445 a second = $0.000347223, "
        "and $0.000652777 for time in which it stood idle: $0.001000000"
    )
