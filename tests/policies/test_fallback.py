"""Which other model may answer, by what went wrong."""

from __future__ import annotations

import pytest

from policies.fallback import begun_at, condition, fallback_of, next_step
from proxy.errors import CODES, ProxyError
from proxy.types import Condition, Plan
from tests.build import target

ASKED, LONG, OPEN, SPARE, LAST = (target(f"up/{name}") for name in ("asked", "long", "open", "spare", "last"))
PLAN = Plan(
    mode="single",
    steps=((ASKED,), (LONG,), (OPEN,), (SPARE,), (LAST, ASKED)),
    reason="",
    fallbacks=(("context_window", "long"), ("content_filter", "open"), ("overload", "spare"), ("any", "last")),
)
PLAIN = Plan(mode="single", steps=((ASKED,),), reason="")


def error(code: str, status: int | None = None) -> ProxyError:
    return ProxyError(code, "m", status=status)


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("context_length_exceeded", None, "context_window"),
        ("content_filter", None, "content_filter"),
        ("upstream_overloaded", None, "overload"),
        ("upstream_quota", None, "overload"),
        ("upstream_timeout", None, "overload"),
        ("upstream_error", 503, "overload"),
        ("upstream_error", 529, "overload"),
        ("upstream_error", 500, "any"),
        ("upstream_unreachable", None, "any"),
        ("upstream_model_missing", None, "any"),
        ("upstream_auth", None, "any"),
        ("overloaded", None, "overload"),
        ("rate_limit_exceeded", None, "overload"),
        ("upstream_rejected", None, None),
        ("deadline_exceeded", None, None),
        ("budget_exceeded", None, None),
        ("internal", None, None),
    ],
)
def test_an_error_says_what_kind_of_model_could_do_better(
    code: str, status: int | None, expected: Condition | None
) -> None:
    assert condition(error(code, status)) == expected


@pytest.mark.parametrize(
    ("at", "code", "following"),
    [
        (0, "context_length_exceeded", 1),
        (0, "content_filter", 2),
        (0, "upstream_overloaded", 3),
        (0, "upstream_unreachable", 4),
        (1, "upstream_overloaded", 3),
        (1, "context_length_exceeded", 4),  # the longest there is was too short; only what is for anything is left
        (3, "content_filter", 4),
        (4, "upstream_overloaded", None),
        (0, "upstream_rejected", None),
        (0, "deadline_exceeded", None),
    ],
)
def test_the_first_step_further_on_that_is_for_the_error_is_next(at: int, code: str, following: int | None) -> None:
    assert next_step(PLAN, at, error(code)) == following


def test_a_plan_is_walked_once_whatever_its_errors_are() -> None:
    for code in CODES:
        at, steps = 0, 0
        while (following := next_step(PLAN, at, error(code))) is not None:
            assert following > at
            at, steps = following, steps + 1
        assert steps <= 4


def test_without_fallbacks_every_error_is_the_end() -> None:
    assert all(next_step(PLAIN, 0, error(code)) is None for code in CODES)


def test_what_no_model_can_mend_has_no_fallback_although_others_that_nobody_may_repeat_have_one() -> None:
    onward = {code for code, rule in CODES.items() if rule.retry == "never" and condition(error(code)) is not None}
    assert onward == {
        *("context_length_exceeded", "content_filter", "upstream_model_missing", "upstream_too_large"),
        *("overloaded", "rate_limit_exceeded"),
    }


def test_a_target_is_known_as_the_fallback_it_answers_for() -> None:
    assert fallback_of(PLAN, LONG) == ("context_window", "long")
    assert fallback_of(PLAN, LAST) == ("any", "last")
    assert fallback_of(PLAN, ASKED) is None, "also where a fallback names it again"
    assert fallback_of(PLAIN, ASKED) is None


@pytest.mark.parametrize(("step", "models"), [(1, ["long", "open", "spare", "last"]), (3, ["spare", "last"])])
def test_a_plan_that_begins_further_on_goes_on_from_there(step: int, models: list[str]) -> None:
    plan = begun_at(PLAN, step)
    assert [model for _, model in plan.fallbacks] == models
    assert plan.steps == PLAN.steps[step:]
    assert fallback_of(plan, plan.steps[0][0]) == PLAN.fallbacks[step - 1]
    assert models[0] in plan.reason
    assert next_step(plan, 0, error("upstream_error")) == len(models) - 1
    assert next_step(plan, len(models) - 1, error("upstream_error")) is None
