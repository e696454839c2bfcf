"""Limits that make no sense are refused; a refusal says when to come back."""

from __future__ import annotations

import pytest

from policies.limits import NO_DEMANDS, Limit, Reason, Refusal, Shortfall, demands, index, tightest
from proxy.holds import Left
from proxy.types import Amounts, Period


def shortfall(reason: Reason, resets_wall: float | None) -> Shortfall:
    period = Period("agent:a", "usd", "day", 1, "agent:a")
    return Shortfall(period, limit=1, spent=1, held=0, needed=1, resets_wall=resets_wall, reason=reason)


@pytest.mark.parametrize(
    ("shortfalls", "retry_after_s", "status"),
    [
        ([("spent", 160.0)], 60.0, 429),
        ([("spent", 160.0), ("overrun", 500.0)], 400.0, 429),  # the latest counts
        ([("spent", None)], None, 402),
        ([("spent", 160.0), ("spent", None)], None, 402),
        ([("held", None)], 1.0, 429),  # live holds end, whatever the window does
        ([("held", None), ("spent", 130.0)], 30.0, 429),
        ([("lowered", 90.0)], 0.0, 429),
    ],
)
def test_a_refusal_says_when_every_limit_may_admit_again(
    shortfalls: list[tuple[Reason, float | None]], retry_after_s: float | None, status: int
) -> None:
    refusal = Refusal(tuple(shortfall(*each) for each in shortfalls), wall=100.0)
    assert (refusal.retry_after_s, refusal.status) == (retry_after_s, status)


def test_waiting_helps_only_where_nothing_but_holds_is_in_the_way() -> None:
    assert Refusal((shortfall("held", None),), 0.0).only_held
    assert not Refusal((shortfall("held", None), shortfall("spent", 1.0)), 0.0).only_held


@pytest.mark.parametrize(
    "build",
    [
        lambda: Limit("usd", -1),
        lambda: Limit("concurrency", 5, "minute"),
        lambda: Limit("tokens", 5, soft=True),
        lambda: Limit("usd", 5, "day", "Mars/Olympus"),
    ],
)
def test_a_limit_that_cannot_be_enforced_is_refused(build: object) -> None:
    assert callable(build)
    with pytest.raises(ValueError):
        build()


def test_a_soft_limit_looks_at_what_a_call_usually_costs() -> None:
    draw = Amounts(usd_nanos=90, soft_usd_nanos=20, tokens=3, requests=1, steps=2, concurrency=4)
    assert draw.by_index[index(Limit("usd", 5))] == 90
    assert draw.by_index[index(Limit("usd", 5, soft=True))] == 20
    assert [draw.by_index[index(Limit(unit, 5))] for unit in ("tokens", "requests", "steps", "concurrency")] == [
        3,
        1,
        2,
        4,
    ]
    assert Amounts(usd_nanos=90).by_index[index(Limit("usd", 5, soft=True))] == 90


def test_of_two_limits_for_the_same_the_smaller_counts() -> None:
    limits = (Limit("usd", 5, "day"), Limit("usd", 3, "day"), Limit("usd", 4, "day"), Limit("usd", 9))
    assert tightest(limits) == {("usd", "day"): Limit("usd", 3, "day"), ("usd", "total"): Limit("usd", 9)}


def test_the_limits_of_a_path_say_together_how_a_call_is_held() -> None:
    hard, soft, strict = Limit("usd", 1), Limit("usd", 1, "day", soft=True), Limit("requests", 1, hold="strict")
    assert demands(()) == NO_DEMANDS
    assert demands((hard, Limit("steps", 1))) == Left(hard=True)
    assert demands((soft, Limit("tokens", 1))) == Left(soft=True, tokens=True)
    assert demands((hard, soft, strict)) == Left(strict=True, hard=True, soft=True)
    assert not demands((strict,)).metered
