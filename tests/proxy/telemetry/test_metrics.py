from __future__ import annotations

import pytest
from msgspec.structs import replace

from proxy.telemetry.metrics import RUNS_MAX
from proxy.types import Attempt, Role, Target, Usage
from tests.proxy.telemetry.samples import (
    ATTEMPT,
    CALL,
    DEEP,
    FAST,
    IDENTITY,
    OUTCOME,
    PLAIN_CALL,
    REFUSED,
    metrics,
    moved,
    scrape,
    value,
)


def failed(code: str, status: int | None, *, target: Target = FAST, role: Role = "first") -> Attempt:
    return replace(
        ATTEMPT,
        target=target,
        role=role,
        error_code=code,
        status=status,
        lesson="failure",
        usage=None,
        cost_usd_nanos=0,
        first_event_s=None,
        duration_s=0.5,
    )


# --- what one outcome adds -------------------------------------------------------------------------------------------


def test_one_call_counts_once_everywhere() -> None:
    found = scrape(metrics(OUTCOME))
    assert moved(
        found, "calls_started_total", "requests_total", "http_responses_total", "errors_total", "runs_started_total"
    ) == {
        ("calls_started_total",): 1,
        ("requests_total", "planner", "ok", "smart"): 1,
        ("http_responses_total", "200", "chat"): 1,
        ("runs_started_total", "planner", "header"): 1,
    }
    assert value(found, "request_duration_seconds_sum", route="smart", stream="yes", result="ok") == 2.0025
    assert value(found, "time_to_first_token_seconds_sum", route="smart", served_by="primary") == 0.3125
    assert value(found, "inter_chunk_seconds_count", route="smart") == 5
    assert value(found, "inter_chunk_seconds_bucket", route="smart", le="0.01") == 3
    assert value(found, "time_per_output_token_seconds_sum", route="smart") == pytest.approx(1.6875 / 90)
    assert value(found, "overhead_seconds_sum", route="smart") == pytest.approx(0.0025)
    assert value(found, "upstream_attempts_total", target="p1/fast", role="first", result="ok") == 1
    assert value(found, "upstream_duration_seconds_sum", target="p1/fast", result="ok") == 2.0
    assert value(found, "upstream_first_token_seconds_sum", target="p1/fast") == 0.3


def test_one_call_is_billed_in_disjoint_kinds() -> None:
    found = scrape(metrics(OUTCOME))
    assert moved(found, "tokens_total") == {
        ("tokens_total", "planner", "input_uncached", "fast", "p1"): 900,
        ("tokens_total", "planner", "input_cached", "fast", "p1"): 100,
        ("tokens_total", "planner", "output", "fast", "p1"): 81,
        ("tokens_total", "planner", "reasoning", "fast", "p1"): 10,
    }
    assert moved(found, "spend_usd_total") == {("spend_usd_total", "planner", "fast", "p1", "smart"): 0.000012345}
    assert value(found, "request_cost_usd_sum", route="smart") == 0.000012345
    assert not moved(found, "spend_estimated_usd_total", "unpriced_requests_total", "usage_clamped_total")


def test_a_plain_call_has_no_stream_times() -> None:
    found = scrape(metrics(replace(OUTCOME, call=PLAIN_CALL, gaps=None)))
    assert value(found, "request_duration_seconds_count", route="smart", stream="no", result="ok") == 1
    for name in ("time_per_output_token_seconds_count", "inter_chunk_seconds_count"):
        assert value(found, name, route="smart") == 0
    assert value(found, "time_to_first_token_seconds_count", route="smart", served_by="primary") == 0
    assert value(found, "upstream_first_token_seconds_count", target="p1/fast") == 0


def test_a_refusal_counts_its_code_and_costs_nothing() -> None:
    found = scrape(metrics(REFUSED))
    assert moved(found, "requests_total", "errors_total", "http_responses_total", "spend_usd_total") == {
        ("requests_total", "planner", "rejected", "smart"): 1,
        ("errors_total", "budget_exceeded", "policy"): 1,
        ("http_responses_total", "429", "chat"): 1,
    }
    assert value(found, "request_cost_usd_count", route="smart") == 0


def test_a_fallback_counts_the_failure_that_caused_it() -> None:
    attempts = (failed("upstream_overloaded", 429), replace(ATTEMPT, number=2, role="retry", target=DEEP))
    found = scrape(metrics(replace(OUTCOME, attempts=attempts, served_by="fallback")))
    assert moved(found, "retries_total", "fallbacks_total", "upstream_attempts_total") == {
        ("retries_total", "http_429", "smart"): 1,
        ("fallbacks_total", "http_429", "smart", "p2/deep"): 1,
        ("upstream_attempts_total", "http_429", "first", "p1/fast"): 1,
        ("upstream_attempts_total", "ok", "retry", "p2/deep"): 1,
    }
    assert value(found, "upstream_duration_seconds_count", target="p1/fast", result="error") == 1
    assert value(found, "time_to_first_token_seconds_count", route="smart", served_by="fallback") == 1


def test_a_retry_at_the_same_target_is_no_fallback() -> None:
    attempts = (failed("upstream_unreachable", None), replace(ATTEMPT, number=2, role="retry"))
    found = scrape(metrics(replace(OUTCOME, attempts=attempts, served_by="retry")))
    assert moved(found, "retries_total", "fallbacks_total") == {("retries_total", "connect", "smart"): 1}


def test_the_bill_holds_every_attempt() -> None:
    cut = replace(ATTEMPT, error_code="upstream_broken", lesson="failure", cost_usd_nanos=655)
    found = scrape(metrics(replace(OUTCOME, attempts=(cut, replace(ATTEMPT, role="retry", target=DEEP)))))
    assert value(found, "request_cost_usd_sum", route="smart") == 0.000013
    assert sum(moved(found, "spend_usd_total").values()) == pytest.approx(0.000013)


def test_missing_counted_and_unpriced_usage_are_told_apart() -> None:
    estimated = replace(ATTEMPT, usage=Usage(output=5, source="estimated", flags=("missing",)))
    clamped = replace(ATTEMPT, usage=Usage(output=5, flags=("clamped", "unknown_field:audio_seconds")))
    unpriced = replace(ATTEMPT, usage=Usage(output=5), cost_usd_nanos=None)
    found = scrape(metrics(*(replace(OUTCOME, attempts=(attempt,)) for attempt in (estimated, clamped, unpriced))))
    names = (
        "spend_estimated_usd_total",
        "usage_clamped_total",
        "usage_unknown_fields_total",
        "unpriced_requests_total",
    )
    assert moved(found, *names) == {
        ("spend_estimated_usd_total", "estimated", "p1"): 0.000012345,
        ("usage_clamped_total", "p1"): 1,
        ("usage_unknown_fields_total", "p1"): 1,
        ("unpriced_requests_total", "p1"): 1,
    }
    assert value(found, "request_cost_usd_count", route="smart") == 2, "a call without a price has no cost, not cost 0"


def test_a_client_that_leaves_a_stream_aborts_it_and_teaches_no_latency() -> None:
    left = replace(ATTEMPT, lesson="ignore", error_code="client_closed")
    outcome = replace(
        OUTCOME, attempts=(left,), client_gone=True, status=499, error_code="client_closed", error_source="client"
    )
    found = scrape(metrics(outcome))
    assert value(found, "requests_total", route="smart", agent="planner", outcome="cancelled") == 1
    assert moved(found, "stream_aborts_total") == {("stream_aborts_total", "client"): 1}
    assert value(found, "upstream_duration_seconds_count", target="p1/fast", result="error") == 0


def test_a_size_limit_that_was_hit_shows() -> None:
    too_large = replace(REFUSED, status=413, error_code="request_too_large", error_source="client")
    assert moved(scrape(metrics(too_large)), "bound_hits_total") == {("bound_hits_total", "request_body"): 1}


def test_overhead_is_never_negative() -> None:
    found = scrape(metrics(replace(OUTCOME, upstream_s=3.0)))
    assert value(found, "overhead_seconds_sum", route="smart") == 0


def test_a_run_starts_once_and_a_call_without_one_is_its_own() -> None:
    alone = replace(CALL, identity=replace(IDENTITY, run=None, run_source="none"))
    namesake = replace(CALL, identity=replace(IDENTITY, key_id="key-2"))
    calls = (CALL, CALL, alone, alone, namesake)
    found = scrape(metrics(*(replace(OUTCOME, call=call) for call in calls)))
    assert moved(found, "runs_started_total") == {
        ("runs_started_total", "planner", "header"): 2,
        ("runs_started_total", "planner", "none"): 2,
    }


def test_a_run_of_two_keys_of_one_team_starts_once() -> None:
    calls = [replace(CALL, identity=replace(IDENTITY, key_id=key, team="red")) for key in ("k1", "k2")]
    found = scrape(metrics(*(replace(OUTCOME, call=call) for call in (*calls, CALL))))
    assert moved(found, "runs_started_total") == {("runs_started_total", "planner", "header"): 2}


def test_remembered_runs_are_bounded_and_the_busy_ones_stay() -> None:
    made = metrics(OUTCOME)
    for n in range(RUNS_MAX):
        made.observe(replace(OUTCOME, call=replace(CALL, identity=replace(IDENTITY, run=f"other {n}"))))
        if n == RUNS_MAX // 2:
            made.observe(OUTCOME)
    made.observe(OUTCOME)
    found = scrape(made)
    assert value(found, "runs_started_total", agent="planner", source="header") == RUNS_MAX + 1
    assert value(found, "bound_hits_total", bound="runs") == 1


def test_a_retry_of_the_client_is_counted() -> None:
    found = scrape(metrics(replace(OUTCOME, call=replace(CALL, client_retry=2))))
    assert moved(found, "client_retries_total") == {("client_retries_total", "smart"): 1}
