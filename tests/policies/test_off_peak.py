"""What a quiet target is, which calls may wait for one, and when they are rescued."""

from __future__ import annotations

from math import inf

import pytest
from msgspec import structs

from policies.off_peak import SLACK_S, Load, may_wait, rescue_at
from proxy.types import Priority
from tests.build import call


@pytest.mark.parametrize(
    ("load", "quiet"),
    [
        (Load(waiting=False, running=0, concurrency=inf), True),
        (Load(waiting=False, running=10_000, concurrency=inf), True),
        (Load(waiting=True, running=0, concurrency=inf), False),
        (Load(waiting=False, running=0, concurrency=1), True),
        (Load(waiting=False, running=1, concurrency=1), False),
        (Load(waiting=False, running=3, concurrency=8), True),
        (Load(waiting=False, running=4, concurrency=8), False),
        (Load(waiting=False, running=0, concurrency=inf, left=0.5), True),
        (Load(waiting=False, running=0, concurrency=inf, left=0.49), False),
    ],
)
def test_a_target_is_quiet_while_half_of_it_is_free_and_nobody_waits(load: Load, quiet: bool) -> None:
    assert load.quiet is quiet


@pytest.mark.parametrize(
    ("priority", "left_s", "may"),
    [("batch", SLACK_S + 1, True), ("batch", SLACK_S, False), ("standard", 1e6, False), ("critical", 1e6, False)],
)
def test_only_calls_of_the_lowest_priority_with_time_to_spare_may_wait(
    priority: Priority, left_s: float, may: bool
) -> None:
    asked = structs.replace(call(deadline=50.0 + left_s), priority=priority)
    assert may_wait(asked, 50.0) is may
    assert not may_wait(structs.replace(asked, origin="line 'one' of batch_1"), 50.0)


@pytest.mark.parametrize(("p99_s", "at"), [(0.0, 9_400.0), (30.0, 9_340.0), (6_000.0, -2_600.0)])
def test_a_rescue_leaves_time_for_two_slow_answers_and_ten_minutes(p99_s: float, at: float) -> None:
    assert rescue_at(call(deadline=10_000.0), p99_s) == at
