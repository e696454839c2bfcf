from __future__ import annotations

import json

import pytest

from proxy.dialects.openai_error import PASSED_BYTES_MAX, client_error, error_event, failure, fault_of
from proxy.errors import Passed, ProxyError


def words(**error: object) -> bytes:
    return json.dumps({"error": {"message": "said", "type": None, "param": None, "code": None} | error}).encode()


@pytest.mark.parametrize(
    ("status", "body", "code", "ours"),
    [
        (400, words(code="unsupported_parameter"), "upstream_rejected", 400),
        (400, words(code="context_length_exceeded"), "context_length_exceeded", 400),
        (413, words(message="the prompt is too long"), "context_length_exceeded", 413),
        (400, words(code="content_filter"), "content_filter", 400),
        (400, words(innererror={"code": "ResponsibleAIPolicyViolation"}), "content_filter", 400),
        (403, words(message="requires moderation and your input was flagged"), "content_filter", 403),
        (402, words(), "upstream_quota", 429),
        (404, words(code="model_not_found"), "upstream_model_missing", 404),
        (408, words(), "upstream_timeout", 504),
        (409, words(), "upstream_error", 409),
        (413, words(), "upstream_rejected", 413),
        (422, words(), "upstream_rejected", 422),
        (429, words(code="rate_limit_exceeded"), "upstream_overloaded", 429),
        (429, words(code="insufficient_quota"), "upstream_quota", 429),
        (429, words(type="insufficient_quota"), "upstream_quota", 429),
        (429, words(code="billing_hard_limit_reached"), "upstream_quota", 429),
        (500, words(), "upstream_error", 500),
        (503, words(), "upstream_error", 503),
        (529, words(), "upstream_error", 529),
        (100, words(), "upstream_broken", 502),
        (204, b"", "upstream_broken", 502),
        (206, words(), "upstream_broken", 502),
    ],
)
def test_a_status_has_its_meaning_and_keeps_its_words(status: int, body: bytes, code: str, ours: int) -> None:
    error = failure(status, {"content-type": "application/json; x"}, body)
    assert (error.code, error.status, error.source) == (code, ours, "upstream")
    if body:
        assert error.passed == Passed(status, "application/json; x", body)
        assert client_error(error) == (status, body)


@pytest.mark.parametrize(
    ("status", "code"), [(401, "upstream_auth"), (403, "upstream_auth"), (307, "unexpected_redirect")]
)
def test_our_credential_and_a_redirect_are_nobodys_business(status: int, code: str) -> None:
    error = failure(status, {}, words(message="Incorrect API key provided: sk-abc"))
    assert (error.code, error.status, error.passed) == (code, 502, None)
    assert client_error(error)[0] == 502 and b"sk-abc" not in client_error(error)[1]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"<html>\x00\x1b[31m Bad\n  gateway</html>", "<html> [31m Bad gateway</html>"),
        (b'{"error":"plain words"}', "plain words"),
        (b'{"detail":"not here"}', "not here"),
        (b'{"message":""}', '{"message":""}'),
        (b'["a"]', '["a"]'),
        (b"", "(nothing readable)"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"x" * 900, "x" * 200),
    ],
)
def test_what_is_not_of_the_dialect_is_quoted_in_short(body: bytes, shown: str) -> None:
    error = failure(500, {}, body)
    assert error.passed is None
    assert error.message == f"The upstream answered 500: {shown}"
    status, said = client_error(error)
    assert status == 500
    assert json.loads(said) == {
        "error": {"message": error.message, "type": "server_error", "param": None, "code": "upstream_error"}
    }


def test_an_error_too_long_to_keep_is_not_passed() -> None:
    assert failure(500, {}, words(message="x" * PASSED_BYTES_MAX)).passed is None
    assert fault_of(json.loads(words(message="x" * PASSED_BYTES_MAX))).passed is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "-1", "retry-after": "9"}, 9.0),
        ({"retry-after": "1000000000"}, 120.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": "6m0s"}, None),
    ],
)
def test_the_hint_is_read_in_seconds_and_bounded(headers: dict[str, str], seconds: float | None) -> None:
    assert failure(429, headers, b"").retry_after_s == seconds


def test_our_own_error_names_code_type_and_param() -> None:
    error = ProxyError("invalid_request", "'n' is wrong", param="n")
    status, body = client_error(error)
    assert status == 400
    assert json.loads(body)["error"] == {
        "message": "'n' is wrong", "type": "invalid_request_error", "param": "n", "code": "invalid_request"
    }  # fmt: skip


def test_an_error_event_is_one_framed_line() -> None:
    ours = ProxyError("upstream_stalled", "two\nlines")
    event = error_event(ours, "chat")
    assert event.startswith(b'data: {"error":{"message":"two\\nlines"') and event.endswith(b"}}\n\n")
    assert event.count(b"\n") == 2
    pretty = json.dumps(json.loads(words(code=503)), indent=2).encode()
    theirs = failure(503, {}, pretty)
    assert json.loads(error_event(theirs, "chat")[6:]) == json.loads(pretty)
    assert error_event(theirs, "chat").count(b"\n") == 2


def test_an_error_event_of_the_responses_endpoint_is_typed() -> None:
    event = error_event(ProxyError("upstream_stalled", "gone"), "responses")
    head, _, data = event.partition(b"\n")
    assert head == b"event: error"
    assert json.loads(data[6:]) == {"type": "error", "code": "upstream_stalled", "message": "gone", "param": None}


def test_a_passed_body_that_was_changed_on_its_way_gives_our_own_words() -> None:
    error = ProxyError("upstream_error", "ours", passed=Passed(500, "application/json", b"{[redacted]"))
    assert b'"message":"ours"' in error_event(error, "chat")


@pytest.mark.parametrize("odd", [None, [], 5, {"error": []}, {"error": {"code": []}}, {"error": {"message": 5}}])
def test_an_error_of_any_shape_is_an_error(odd: object) -> None:
    assert (fault_of(odd).code, fault_of(odd).status) == ("upstream_error", 502)


def test_numbers_that_json_cannot_say_do_not_break_the_answer() -> None:
    fault = fault_of({"error": {"message": "m", "code": "rate_limit", "wait": float("inf")}})
    assert fault.passed is not None and json.loads(fault.passed.body)["error"]["message"]
