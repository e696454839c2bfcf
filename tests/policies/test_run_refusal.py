"""The words of a refusal: which run, which limit, and whether to come back."""

from __future__ import annotations

import pytest

from policies.run_refusal import RETRY_PAUSED_S, RETRY_WIDTH_S, run_limit_exceeded, run_stopped
from policies.runs import Excess, Stop
from proxy.errors import ProxyError

EACH = [
    (run_stopped(Stop("r", "killed")), "run_killed", 403, None, False),
    (run_stopped(Stop("r", "paused")), "run_paused", 429, RETRY_PAUSED_S, True),
    (run_limit_exceeded(Excess("r", "seconds", 60.0, 61.5)), "run_limit_exceeded", 403, None, False),
    (run_limit_exceeded(Excess("r", "depth", 2, 3)), "run_limit_exceeded", 403, None, False),
    (run_limit_exceeded(Excess("r", "width", 8, 9)), "run_width_exceeded", 429, RETRY_WIDTH_S, True),
]


@pytest.mark.parametrize(("error", "code", "status", "retry_after_s", "again"), EACH)
def test_final_refusals_say_so_and_others_say_when(
    error: ProxyError, code: str, status: int, retry_after_s: float | None, again: bool
) -> None:
    assert (error.code, error.status, error.retry_after_s) == (code, status, retry_after_s)
    assert (error.source, error.client_may_retry) == ("policy", again)
    assert error.details["run"] == "r"


def test_a_limit_is_named_with_what_is_allowed_and_what_it_would_have_been() -> None:
    error = run_limit_exceeded(Excess("r", "seconds", 60.0, 61.23456))
    assert error.details == {"run": "r", "limit": "seconds", "allowed": 60.0, "value": 61.235}
    assert "61 s ago and may last 60 s" in error.message


def test_a_name_cannot_bite_nor_fill_the_page() -> None:
    message = run_stopped(Stop("\x1b[31m" + "x" * 500, "killed")).message
    assert message.isascii() and message.isprintable()
    assert len(message) < 150
