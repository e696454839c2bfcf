"""Who is turned away first, and how the threshold moves."""

from __future__ import annotations

import pytest

from policies.shedding import EVERY_S, Shedder, rank
from policies.tiers import TIERS

CRITICAL, INTERACTIVE, STANDARD, BATCH = TIERS.values()
NAMES = [f"run-{number}" for number in range(200)]


def looked(interactive: float, standard: float, *, seconds: float, shedder: Shedder | None = None) -> Shedder:
    shedder = shedder or Shedder()
    for step in range(int(seconds / EVERY_S) + 1):
        shedder.look(interactive, standard, 1000.0 + step * EVERY_S)
    return shedder


# --- ranks -----------------------------------------------------------------------------------------------------------


def test_every_call_of_a_lower_tier_goes_before_any_of_a_higher_one() -> None:
    for lower, higher in ((BATCH, STANDARD), (STANDARD, INTERACTIVE), (INTERACTIVE, CRITICAL)):
        assert max(rank(lower, 10**6, name) for name in NAMES) <= min(rank(higher, 0, name) for name in NAMES)


@pytest.mark.parametrize("tier", [INTERACTIVE, STANDARD, BATCH])
def test_in_a_tier_new_runs_go_first_and_then_those_that_have_got_least_far(tier: int) -> None:
    new = max(rank(tier, 0, name) for name in NAMES)
    going_on = [rank(tier, steps, "run") for steps in (1, 2, 5, 20, 1000)]
    assert new < going_on[0]
    assert going_on == sorted(going_on)


def test_new_runs_are_told_apart_by_their_name_and_evenly() -> None:
    ranks = sorted(rank(STANDARD, 0, name) for name in NAMES)
    assert rank(STANDARD, 0, "run-7") == rank(STANDARD, 0, "run-7")
    middle = (ranks[0] + ranks[-1]) / 2
    assert 0.4 < sum(each < middle for each in ranks) / len(ranks) < 0.6


def test_critical_calls_are_never_shed() -> None:
    shedder = looked(100.0, 100.0, seconds=600)
    assert rank(CRITICAL, 0, "run") >= shedder.level
    assert rank(INTERACTIVE, 0, "run") < shedder.level


# --- the threshold ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interactive", "standard", "sheds"), [(0.0, 0.0, False), (0.5, 0.9, False), (0.0, 2.0, True), (2.0, 0.0, True)]
)
def test_nothing_is_shed_below_the_goals_and_either_of_them_counts(
    interactive: float, standard: float, sheds: bool
) -> None:
    assert looked(interactive, standard, seconds=5).overloaded is sheds


def test_a_step_moves_it_by_the_error_and_by_what_has_added_up() -> None:
    assert looked(2.0, 0.0, seconds=EVERY_S).level == pytest.approx(0.1 + 0.02)
    assert looked(2.0, 0.0, seconds=4 * EVERY_S).level == pytest.approx(0.1 + 4 * 0.02)


def test_steps_that_nobody_looked_at_are_made_up_for() -> None:
    seldom = Shedder()
    for now in (1000.0, 1001.0, 1002.0):
        seldom.look(2.0, 0.0, now)
    assert seldom.level == pytest.approx(looked(2.0, 0.0, seconds=2).level)


def test_between_two_steps_and_near_the_goal_it_stays_where_it_is() -> None:
    shedder = looked(2.0, 0.0, seconds=2)
    level = shedder.level
    shedder.look(9.0, 9.0, 1002.0 + EVERY_S / 2)
    assert shedder.level == level
    shedder.look(1.05, 0.2, 1010.0)
    shedder.look(0.95, 0.2, 1020.0)
    assert shedder.level == level


def test_batch_stops_first_and_the_rest_follows_as_long_as_it_does_not_help() -> None:
    shedder = looked(0.0, 2.0, seconds=2)
    assert rank(BATCH, 0, "run") < shedder.level < rank(STANDARD, 0, "run")
    later = looked(0.0, 2.0, seconds=5)
    assert rank(STANDARD, 0, "run") < later.level < rank(INTERACTIVE, 0, "run")


def test_however_bad_it_was_all_are_let_in_again_soon_after() -> None:
    shedder = looked(1000.0, 1000.0, seconds=600)
    at = 1000.0 + 600
    for step in range(1, int(13 / EVERY_S)):
        shedder.look(0.0, 0.0, at + step * EVERY_S)
    assert not shedder.overloaded


def test_after_a_quiet_hour_the_first_look_forgets_it_all() -> None:
    shedder = looked(1000.0, 1000.0, seconds=600)
    shedder.look(0.1, 0.1, 1600.0 + 3600)
    assert not shedder.overloaded
