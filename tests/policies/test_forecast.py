"""Rates, forecasts and paces with known answers."""

from __future__ import annotations

import pytest

from policies.forecast import HOUR_S, PACE_MAX, Forecast, Rate, forecast, pace_in, paced
from proxy.types import Per
from tests.policies.rulebook import START


def rate_of(*charges: tuple[float, int], began: float = 0.0) -> Rate:
    rate = Rate(START + began)
    for seconds, amount in charges:
        rate.add(amount, START + seconds)
    return rate


@pytest.mark.parametrize(
    ("charges", "at", "an_hour"),
    [
        ((), 3_600, 0),
        (((0, 100),), 0, 6_000),  # as if it had been watched for a minute
        (((0, 100),), 1_800, 200),  # half an hour
        (((0, 100), (3_000, 100)), 3_599, 200),
        (((0, 240),), 2 * 3_600 + 60, 119),  # an hour ago: only the day knows it
        (((0, 240),), 25 * 3_600, 0),  # and now neither does
        (((0, 2_400), (23 * 3_600, 10)), 23 * 3_600 + 60, 104),  # the day is the faster one
        (((0, 24), (23 * 3_600, 100)), 23 * 3_600 + 60, 100),  # the hour is
        (((100, 50), (40, 50)), 100, 3_600),  # a clock that was set back
    ],
)
def test_the_rate_is_the_faster_of_the_last_hours_and_the_last_days(
    charges: tuple[tuple[float, int], ...], at: float, an_hour: int
) -> None:
    assert rate_of(*charges).an_hour(START + at) == an_hour


def test_a_steady_rate_is_found_at_any_time() -> None:
    rate = Rate(START)
    for minute in range(30 * 60):
        rate.add(5, START + minute * 60)
        assert 295 <= rate.an_hour(START + minute * 60) <= 310 or minute < 30  # one charge more than minutes


@pytest.mark.parametrize(
    ("taken", "an_hour", "left_s", "expected"),
    [
        (40, 10, 10 * HOUR_S, Forecast(START + 6 * HOUR_S, 140)),
        (40, 10, 6 * HOUR_S, Forecast(None, 100)),  # just not
        (40, 10, 5 * HOUR_S, Forecast(None, 90)),
        (40, 10, None, Forecast(START + 6 * HOUR_S, None)),
        (40, 0, 5 * HOUR_S, Forecast(None, 40)),
        (100, 10, HOUR_S, Forecast(START, 110)),  # it is empty now
        (40, 7, 0, Forecast(None, 40)),
    ],
)
def test_a_forecast_is_a_straight_line(taken: int, an_hour: int, left_s: float | None, expected: Forecast) -> None:
    resets = None if left_s is None else START + left_s
    assert forecast(limit=100, taken=taken, an_hour=an_hour, wall=START, resets_wall=resets) == expected


@pytest.mark.parametrize(
    ("pace", "used", "passed", "after"),
    [
        (0, 56, 50, 1),  # a tenth ahead
        (0, 55, 50, 0),
        (3, 55, 50, 3),  # between the line and that, it stays
        (3, 50, 50, 2),
        (3, 51, 50, 3),
        (0, 10, 50, 0),
        (PACE_MAX, 90, 50, PACE_MAX),
    ],
)
def test_the_pace_rises_a_tenth_ahead_of_the_line_and_falls_under_it(
    pace: int, used: int, passed: float, after: int
) -> None:
    assert paced(pace, used=used, limit=100, passed_s=passed, whole_s=100.0) == after


@pytest.mark.parametrize(("per", "after"), [("minute", 0), ("hour", 1), ("day", 1), ("month", 1), ("total", 0)])
def test_windows_that_are_too_short_or_have_no_end_have_no_pace(per: Per, after: int) -> None:
    assert pace_in(0, used=99, limit=100, per=per, time_zone="UTC", wall=START + 30) == after


def test_the_line_is_that_of_the_time_zones_own_day() -> None:
    """At 18:00 UTC three quarters of the day are over; in Chicago, five hours behind, little more than half."""
    at = START + 18 * 3_600
    assert pace_in(0, used=60, limit=100, per="day", time_zone="America/Chicago", wall=at) == 1
    assert pace_in(0, used=60, limit=100, per="day", time_zone="UTC", wall=at) == 0


def test_without_a_limit_there_is_no_pace() -> None:
    assert paced(5, used=0, limit=0, passed_s=1.0, whole_s=2.0) == 0
