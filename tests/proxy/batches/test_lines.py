"""What a call's end means for its line: its answer, another try, or not now."""

from __future__ import annotations

import pytest
from msgspec import Raw, json

from policies.cache_rules import CacheRules
from proxy.batches.lines import TRIES_MAX, WAIT_MAX_S, Later, _later, _one_line, journalled, unasked
from proxy.batches.scanning import Line
from proxy.errors import CODES, ProxyError
from proxy.snapshot import AgentRules
from tests.flow.world import World, plain


def spent(*reasons: str) -> ProxyError:
    details = {"limits": [{"reason": reason} for reason in reasons]}
    return ProxyError("budget_exceeded", "", retry_after_s=3_600, details=details)


@pytest.mark.parametrize(
    ("error", "tries", "tried", "expected"),
    [
        (ProxyError("rate_limit_exceeded", "", retry_after_s=7), 0, False, Later(7, waits=True)),
        (ProxyError("rate_limit_exceeded", "", retry_after_s=3_600), 0, False, Later(WAIT_MAX_S, waits=True)),
        (ProxyError("upstream_overloaded", ""), 9, True, Later(WAIT_MAX_S, waits=True)),
        (ProxyError("upstream_unreachable", "", sent=False), 9, True, Later(WAIT_MAX_S, waits=True)),
        (ProxyError("shutting_down", ""), 0, True, Later(2, waits=True)),
        (ProxyError("deadline_exceeded", ""), 0, False, Later(2, waits=True)),
        (ProxyError("deadline_exceeded", ""), 0, True, None),
        (ProxyError("upstream_error", ""), 0, True, Later(2, waits=False)),
        (ProxyError("upstream_error", ""), 1, True, Later(4, waits=False)),
        (ProxyError("upstream_error", ""), TRIES_MAX - 1, True, None),
        (ProxyError("upstream_rejected", ""), 0, True, None),
        (ProxyError("budget_exceeded", "", retry_after_s=60), 0, False, None),
        (spent("held", "held"), 9, False, Later(WAIT_MAX_S, waits=True)),
        (spent("held"), 0, False, Later(2, waits=True)),  # for its calls, not until its window ends
        (spent("held", "spent"), 0, False, None),
        (ProxyError("run_killed", ""), 0, False, None),
    ],
)
def test_what_only_says_not_now_is_asked_again(
    error: ProxyError, tries: int, tried: bool, expected: Later | None
) -> None:
    assert _later(error, tries, tried=tried) == expected


def test_whatever_a_client_may_ask_again_is_no_answer_at_once() -> None:
    for code, rule in CODES.items():
        if rule.client_may_retry and rule.source != "client":
            assert _later(ProxyError(code, ""), 0, tried=True) is not None, code


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{\n  "a": "b\\nc"\r\n}', Raw(b'{   "a": "b\\nc"  }')),
        (b'{"a":"\\ud800"}', Raw(b'{"a":"\\ud800"}')),
        (b"<html>\n</html>", "<html>\n</html>"),
        (b"", ""),
    ],
)
def test_an_answer_is_one_line_of_json_whatever_it_was(body: bytes, expected: Raw | str) -> None:
    found = _one_line(body)
    assert (
        bytes(found) == bytes(expected) if isinstance(found, Raw) and isinstance(expected, Raw) else found == expected
    )
    assert b"\n" not in json.encode({"body": found})


def test_a_line_that_was_not_asked_says_why() -> None:
    entry = json.decode(unasked(Line("a", "POST", "/", Raw(b"{}")), "x", "batch_expired", "too late"))
    assert (entry["custom_id"], entry["response"]) == ("a", None)
    assert entry["error"] == {"code": "batch_expired", "message": "too late"}


async def test_the_journal_and_a_strict_ledger_are_on_for_lines_alone() -> None:
    async with World(plain, rules=AgentRules(cache=CacheRules(replay="off"))) as world:
        assert journalled(world.snapshot, "a").rules("a").cache.replay == "keyed"
        assert world.snapshot.rules("a").cache.replay == "off"
    async with World(plain) as world:
        of_line = journalled(world.snapshot, "a")
        assert (of_line.rules("a"), of_line.strict) == (world.snapshot.rules("a"), True)
        assert not world.snapshot.strict
