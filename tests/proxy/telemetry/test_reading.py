from __future__ import annotations

from typing import get_args

import pytest
from msgspec.structs import replace

from proxy.errors import CODES
from proxy.telemetry.catalog import ATTEMPT_RESULT, BOUND, ENDPOINT
from proxy.telemetry.reading import BOUNDS, ENDPOINTS, aborted_by, attempt_result, token_seconds
from proxy.types import Endpoint, Lesson, Outcome, Usage
from tests.proxy.telemetry.samples import ATTEMPT, OUTCOME, PLAIN_CALL


@pytest.mark.parametrize(
    ("status", "code", "lesson", "result"),
    [
        (200, None, "success", "ok"),
        (200, None, "ignore", "cancelled"),
        (None, "client_closed", "ignore", "cancelled"),
        (None, "budget_exceeded", "ignore", "cancelled"),
        (None, "shutting_down", "ignore", "cancelled"),
        (None, "a_code_of_tomorrow", "failure", "cancelled"),
        (429, "upstream_overloaded", "overload", "http_429"),
        (429, "upstream_quota", "failure", "http_429"),
        (503, "upstream_overloaded", "overload", "http_5xx"),
        (401, "upstream_auth", "failure", "http_4xx"),
        (404, "upstream_model_missing", "failure", "http_4xx"),
        (500, "upstream_error", "failure", "http_5xx"),
        (None, "upstream_timeout", "overload", "timeout"),
        (200, "upstream_stalled", "overload", "timeout"),
        (200, "deadline_exceeded", "ignore", "timeout"),
        (None, "upstream_unreachable", "failure", "connect"),
        (None, "upstream_broken", "failure", "reset"),
        (200, "upstream_broken", "failure", "bad_stream"),
        (200, "upstream_too_large", "failure", "bad_stream"),
        (200, "upstream_error", "failure", "bad_stream"),
        (200, "upstream_overloaded", "overload", "http_429"),
    ],
)
def test_an_attempt_reads_as_one_result(status: int | None, code: str | None, lesson: Lesson, result: str) -> None:
    assert attempt_result(replace(ATTEMPT, status=status, error_code=code, lesson=lesson)) == result


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("status", [None, 200, 302, 400, 429, 503])
def test_every_code_reads_as_a_declared_result(code: str, status: int | None) -> None:
    assert ATTEMPT_RESULT.values is not None
    assert attempt_result(replace(ATTEMPT, status=status, error_code=code, lesson="failure")) in ATTEMPT_RESULT.values


def test_every_endpoint_and_bound_is_declared() -> None:
    assert ENDPOINT.values is not None and BOUND.values is not None
    assert {ENDPOINTS.get(endpoint, endpoint) for endpoint in get_args(Endpoint)} == set(ENDPOINT.values)
    assert set(BOUNDS.values()) <= set(BOUND.values) and set(BOUNDS) <= set(CODES)


@pytest.mark.parametrize(
    ("outcome", "side"),
    [
        (OUTCOME, None),
        (replace(OUTCOME, client_gone=True), "client"),
        (replace(OUTCOME, error_code="upstream_broken", error_source="upstream"), "upstream"),
        (replace(OUTCOME, error_code="deadline_exceeded", error_source="policy"), "proxy"),
        (replace(OUTCOME, error_code="upstream_broken", error_source="upstream", first_event_s=None), None),
        (replace(OUTCOME, client_gone=True, call=PLAIN_CALL), None),
    ],
)
def test_an_abort_is_one_after_the_first_byte_of_a_stream(outcome: Outcome, side: str | None) -> None:
    assert aborted_by(outcome) == side


def test_time_per_token_counts_the_spaces_between_tokens() -> None:
    outcome = replace(OUTCOME, first_event_s=1.0, last_event_s=10.0)
    assert token_seconds(outcome) == pytest.approx(9.0 / 90)


@pytest.mark.parametrize(
    "outcome",
    [
        replace(OUTCOME, attempts=()),
        replace(OUTCOME, last_event_s=None),
        replace(OUTCOME, last_event_s=OUTCOME.first_event_s),
        replace(OUTCOME, attempts=(replace(ATTEMPT, usage=None),)),
        replace(OUTCOME, attempts=(replace(ATTEMPT, usage=Usage(output=1)),)),
    ],
)
def test_a_stream_without_a_second_token_has_no_time_per_token(outcome: Outcome) -> None:
    assert token_seconds(outcome) is None
