"""The median of answers' lengths: by agent and target, only while it is fresh."""

from __future__ import annotations

import pytest

from policies.service_time import BELIEVED_S, KEPT_MAX, SAMPLES_LEAST, ServiceTimes


def learnt(*seconds: float, now: float = 0.0) -> ServiceTimes:
    times = ServiceTimes()
    for each in seconds:
        times.ended("a", "t", seconds=each, now=now)
    return times


def test_nothing_is_known_before_enough_answers_were_seen() -> None:
    assert learnt(*[2.0] * (SAMPLES_LEAST - 1)).median_s("a", "t", 0.0) is None
    assert learnt(*[2.0] * SAMPLES_LEAST).median_s("a", "t", 0.0) == pytest.approx(2.0, rel=1 / 16)


def test_half_of_all_answers_stay_below_the_median_whatever_the_longest_take() -> None:
    assert learnt(*[1.0] * 60, *[600.0] * 40).median_s("a", "t", 0.0) == pytest.approx(1.0, rel=1 / 16)


def test_agents_and_targets_are_known_by_themselves() -> None:
    times = learnt(*[2.0] * 50)
    assert times.median_s("b", "t", 0.0) is None
    assert times.median_s("a", "u", 0.0) is None


def test_what_nothing_has_confirmed_for_a_while_is_neither_believed_nor_mixed_with_what_comes() -> None:
    times = learnt(*[60.0] * 50)
    assert times.median_s("a", "t", BELIEVED_S) is not None
    assert times.median_s("a", "t", BELIEVED_S + 1) is None
    for _ in range(SAMPLES_LEAST):
        times.ended("a", "t", seconds=1.0, now=BELIEVED_S + 1)
    assert times.median_s("a", "t", BELIEVED_S + 1) == pytest.approx(1.0, rel=1 / 16)


def test_the_present_outweighs_the_past() -> None:
    times = learnt(*[10.0] * 30, *[1.0] * 90)
    assert times.median_s("a", "t", 0.0) == pytest.approx(1.0, rel=1 / 16)


def test_there_are_never_too_many_and_the_longest_unused_goes_first() -> None:
    times = learnt(*[2.0] * 50)
    for number in range(KEPT_MAX - 1):
        times.ended("x", str(number), seconds=1.0, now=0.0)
    times.ended("a", "t", seconds=2.0, now=0.0)
    times.ended("x", "one more", seconds=1.0, now=0.0)
    assert len(times) == KEPT_MAX
    assert times.median_s("a", "t", 0.0) is not None
