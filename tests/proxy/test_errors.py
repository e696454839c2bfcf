from __future__ import annotations

import ast
from http import HTTPStatus
from random import Random
from typing import get_args

import pytest

from policies.retry import Retry
from proxy.errors import CODES, TIMEOUTS, Family, Passed, ProxyError, Rule, Source, family
from tests.sources import nodes, sources

OPENAI_TYPES = frozenset(
    {"invalid_request_error", "rate_limit_error", "insufficient_quota", "server_error", "timeout_error"}
)
CLIENT_CLOSED = 499  # nginx's: the client is gone, nobody reads it
EVERY_RULE = pytest.mark.parametrize(("code", "rule"), CODES.items(), ids=CODES)


# --- the table -------------------------------------------------------------------------------------------------------


@EVERY_RULE
def test_a_status_is_an_error_that_clients_know(code: str, rule: Rule) -> None:
    assert rule.status == CLIENT_CLOSED or (HTTPStatus(rule.status) and 400 <= rule.status < 600)


NOT_CACHED = "not_cached"  # RFC 9111, 5.2.1.7 gives it a 504
CROWDED = ("overloaded", "run_gate_timeout")


@EVERY_RULE
def test_a_status_names_the_side_at_fault(code: str, rule: Rule) -> None:
    assert rule.source in get_args(Source)
    if rule.source == "client" and code != NOT_CACHED:
        assert 400 <= rule.status < 500
        assert rule.status not in (402, 429)  # those speak of money and of limits, which are the operator's
    if rule.source in ("proxy", "store"):
        assert rule.status in (500, 503)
    assert code.startswith("upstream_") <= (rule.source == "upstream")


@EVERY_RULE
def test_the_gate_tries_again_only_where_the_upstream_failed(code: str, rule: Rule) -> None:
    delay_s = Retry(attempts=2).delay_s(1, ProxyError(code, "m"), Random(7))
    assert (delay_s is not None) is (rule.retry == "before_first_byte")
    assert rule.source == "upstream" or delay_s is None


@EVERY_RULE
def test_the_type_says_what_the_status_says(code: str, rule: Rule) -> None:
    """OpenAI's SDKs choose their exception by the status, and people read the type beside it."""
    assert rule.openai_type in OPENAI_TYPES
    if code == NOT_CACHED:
        return
    assert (rule.openai_type == "invalid_request_error") is (rule.status < 500 and rule.status not in (402, 429))
    assert (rule.openai_type == "timeout_error") is (rule.status == 504) is (code in TIMEOUTS)
    assert (rule.openai_type == "server_error") is (rule.status in (500, 502, 503))


@EVERY_RULE
def test_a_client_is_not_told_to_repeat_what_cannot_succeed(code: str, rule: Rule) -> None:
    if rule.openai_type == "insufficient_quota" or rule.status in (400, 401, 403, 404, 405, 413, 415, 417, 431):
        assert not rule.client_may_retry
    if rule.status in (429, 503) and rule.openai_type != "insufficient_quota":
        assert rule.client_may_retry is (code not in CROWDED), "a crowd lives on those that ask again at once"


def test_no_code_is_raised_that_the_table_does_not_hold() -> None:
    """Python would tell when it happens: as an error of the gate in the place of the one that was meant."""
    calls = [node for path in sources() for node in nodes(path) if isinstance(node, ast.Call)]
    said = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "ProxyError"]
    codes = {ast.literal_eval(code) for code in said if isinstance(code, ast.Constant)}
    assert len(codes) > len(CODES) / 2
    assert sorted(codes - CODES.keys()) == []


# --- the exception ---------------------------------------------------------------------------------------------------


@EVERY_RULE
def test_an_error_is_what_its_rule_says(code: str, rule: Rule) -> None:
    error = ProxyError(code, "what was wrong")
    found = Rule(
        source=error.source,
        status=error.status,
        retry=error.retry,
        client_may_retry=error.client_may_retry,
        openai_type=error.openai_type,
    )
    assert (error.code, found) == (code, rule)
    assert (error.param, error.retry_after_s, error.passed, error.headers) == (None, None, None, ())
    assert error.sent is True  # unless proven otherwise the upstream may bill it
    assert error.forwarded is False


def test_an_error_may_say_more_than_its_rule_and_changes_no_other() -> None:
    passed = Passed(status=418, content_type="application/json", body=b"{}")
    error = ProxyError(
        "upstream_rejected",
        "m",
        param="messages",
        status=418,
        retry_after_s=0.0,
        passed=passed,
        headers=(("x-request-id", "r"),),
        sent=False,
    )
    assert (error.param, error.status, error.retry_after_s, error.passed) == ("messages", 418, 0.0, passed)
    assert (error.headers, error.sent) == ((("x-request-id", "r"),), False)
    assert ProxyError("upstream_rejected", "m").status == CODES["upstream_rejected"].status == 400


def test_a_code_that_is_not_in_the_table_is_nobodys() -> None:
    with pytest.raises(KeyError, match="made_up"):
        ProxyError("made_up", "m")


@pytest.mark.parametrize("message", ["what was wrong", "", "{braces} %s", "näme\nsecond line", "\ud800"])
def test_the_message_is_never_lost(message: str) -> None:
    with pytest.raises(ProxyError) as caught:
        raise ProxyError("internal", message) from OSError("the cause")
    error = caught.value
    assert error.message == str(error) == message
    assert error.args == (message,)
    assert repr(error) == f"ProxyError('internal', 500, {message!r})"
    assert str(error.__cause__) == "the cause"


# --- how a call ended ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("client", "client_error"),
        ("policy", "rejected"),
        ("upstream", "upstream_error"),
        ("proxy", "proxy_error"),
        ("store", "proxy_error"),
    ],
)
def test_an_end_is_named_after_the_side_at_fault(source: Source, expected: Family) -> None:
    codes = [code for code, rule in CODES.items() if rule.source == source and code not in TIMEOUTS]
    assert codes
    assert {family(code, source, False) for code in codes} == {expected}


def test_the_sides_above_are_all_there_are() -> None:
    assert {rule.source for rule in CODES.values()} == set(get_args(Source))


@pytest.mark.parametrize("code", sorted(TIMEOUTS))
def test_a_timeout_is_one_whoever_is_at_fault(code: str) -> None:
    assert {family(code, source, False) for source in get_args(Source)} == {"timeout"}


@pytest.mark.parametrize("code", [None, *CODES])
def test_a_client_that_left_is_cancelled_whatever_else_happened(code: str | None) -> None:
    assert {family(code, source, True) for source in (None, *get_args(Source))} == {"cancelled"}


def test_an_end_without_a_code_is_ok() -> None:
    assert {family(None, source, False) for source in (None, *get_args(Source))} == {"ok"}


def test_every_family_can_happen() -> None:
    ends = {family(code, rule.source, gone) for code, rule in CODES.items() for gone in (False, True)}
    assert ends | {family(None, None, False)} == set(get_args(Family))
