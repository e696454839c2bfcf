"""How an attempt came to its end."""

from __future__ import annotations

import pytest

from policies.settle import Ending
from proxy.errors import ProxyError
from proxy.execution.ending import ending_of, lesson, stalled, too_late
from proxy.types import Lesson


def error(code: str, status: int | None = None, *, sent: bool = True) -> ProxyError:
    return ProxyError(code, "words", status=status, sent=sent)


@pytest.mark.parametrize(
    ("ending", "failed", "expected"),
    [
        ("complete", None, "success"),
        ("abandoned", None, "ignore"),  # the client left, or a hedge was faster
        ("abandoned", error("deadline_exceeded"), "ignore"),
        ("abandoned", error("run_killed"), "ignore"),
        ("refused", error("upstream_rejected"), "ignore"),
        ("refused", error("context_length_exceeded"), "ignore"),
        ("refused", error("content_filter"), "ignore"),
        ("refused", error("upstream_overloaded"), "overload"),
        ("abandoned", error("upstream_timeout"), "overload"),
        ("abandoned", error("upstream_stalled"), "overload"),
        ("refused", error("upstream_error", 503), "overload"),
        ("refused", error("upstream_error", 500), "failure"),
        ("unsent", error("upstream_unreachable", sent=False), "failure"),
        ("cut", error("upstream_broken"), "failure"),
        ("refused", error("upstream_auth"), "failure"),
    ],
)
def test_a_target_is_blamed_for_its_own_failures_alone(
    ending: Ending, failed: ProxyError | None, expected: Lesson
) -> None:
    assert lesson(ending, failed) == expected


def test_what_was_never_sent_is_told_from_what_was_cut() -> None:
    assert ending_of(None, error("upstream_unreachable", sent=False)) == "unsent"
    assert ending_of(None, error("upstream_broken")) == "cut"


def test_a_wait_in_vain_is_the_deadlines_doing_where_that_has_passed() -> None:
    assert too_late("up/m", None, 2.5, over=False).message == "up/m did not answer within 2.5 s."
    assert too_late("up/m", None, 2.5, over=True).code == stalled("up/m", over=True).code == "deadline_exceeded"
    assert stalled("up/m", over=False).code == "upstream_stalled"
