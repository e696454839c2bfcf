"""Windows follow the calendar of their time zone, tile time, and only ever move on."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policies.windows import window, zone
from proxy.types import Per
from tests.effort import examples

HOUR = 3_600
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Havana",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Cairo",
)
CALENDAR: tuple[Per, ...] = ("minute", "hour", "day", "week", "month")


def at(text: str, time_zone: str = "UTC", fold: int = 0) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(time_zone), fold=fold).timestamp())


@pytest.mark.parametrize(
    ("per", "time_zone", "wall", "starts", "resets"),
    [
        ("minute", "UTC", "2026-03-04T05:06:07", "2026-03-04T05:06", "2026-03-04T05:07"),
        ("hour", "UTC", "2026-03-04T05:06:07", "2026-03-04T05:00", "2026-03-04T06:00"),
        ("day", "UTC", "2026-03-04T05:06:07", "2026-03-04", "2026-03-05"),
        ("week", "UTC", "2026-03-04T05:06:07", "2026-03-02", "2026-03-09"),  # a Wednesday; Monday before
        ("week", "UTC", "2026-03-02T00:00:00", "2026-03-02", "2026-03-09"),  # Monday itself
        ("week", "UTC", "2026-03-01T23:59:59", "2026-02-23", "2026-03-02"),  # Sunday night
        ("month", "UTC", "2026-12-31T23:59:59", "2026-12-01", "2027-01-01"),
        ("month", "UTC", "2028-02-29T12:00:00", "2028-02-01", "2028-03-01"),
        ("day", "Europe/Berlin", "2026-01-01T00:30:00", "2026-01-01", "2026-01-02"),
        ("month", "America/New_York", "2026-03-31T23:00:00", "2026-03-01", "2026-04-01"),
        ("day", "Asia/Kolkata", "2026-06-01T05:29:00", "2026-06-01", "2026-06-02"),
        ("hour", "Asia/Kolkata", "2026-06-01T05:29:00", "2026-06-01T05:00", "2026-06-01T06:00"),
        ("hour", "Asia/Kathmandu", "2026-06-01T05:50:00", "2026-06-01T05:00", "2026-06-01T06:00"),
        ("week", "Pacific/Apia", "2026-06-03T05:50:00", "2026-06-01", "2026-06-08"),
    ],
)
def test_a_window_begins_and_ends_with_the_local_calendar(
    per: Per, time_zone: str, wall: str, starts: str, resets: str
) -> None:
    found = window(per, at(wall, time_zone) + 0.5, time_zone)
    assert (found.starts_wall, found.resets_wall) == (at(starts, time_zone), at(resets, time_zone))


@pytest.mark.parametrize(
    ("time_zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("Europe/Berlin", "2026-10-26", 24),
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("Asia/Kolkata", "2026-03-29", 24),
        ("America/Sao_Paulo", "2018-11-04", 23),  # midnight itself is skipped
        ("America/Sao_Paulo", "2018-02-17", 25),  # the clock goes back at midnight, to 23:00 of the same day
        ("America/Havana", "2026-11-01", 25),  # midnight comes twice
    ],
)
def test_a_local_day_may_last_23_or_25_hours(time_zone: str, day: str, hours: float) -> None:
    found = window("day", at(f"{day}T12:00", time_zone), time_zone)
    assert found.resets_wall is not None
    assert found.resets_wall - found.starts_wall == hours * HOUR
    assert found.id == date.fromisoformat(day).toordinal()


def test_a_day_that_a_zone_skips_has_no_window() -> None:
    before = window("day", at("2011-12-29T23:59:59", "Pacific/Apia"), "Pacific/Apia")
    assert before.resets_wall == int(datetime(2011, 12, 30, 10, tzinfo=UTC).timestamp())
    after = window("day", before.resets_wall, "Pacific/Apia")
    assert after.starts_wall == before.resets_wall
    assert (before.id, after.id) == (date(2011, 12, 29).toordinal(), date(2011, 12, 31).toordinal())


def test_a_clock_set_back_over_midnight_does_not_reopen_the_day_before() -> None:
    # St. John's, 2006-10-29: at 00:01 the clock went back to 23:01 of the 28th.
    new_day = at("2006-10-29T00:00:30", "America/St_Johns")
    shown_again = at("2006-10-28T23:30", "America/St_Johns", fold=1)
    assert shown_again > new_day
    assert window("day", shown_again, "America/St_Johns") == window("day", new_day, "America/St_Johns")
    assert window("day", new_day - 60, "America/St_Johns").id == window("day", new_day, "America/St_Johns").id - 1


def test_a_midnight_inside_a_jump_of_the_clock_begins_its_day_at_the_jump() -> None:
    # Toronto, 1919-03-30: from 23:30 to 00:30.
    found = window("day", at("1919-03-31T12:00", "America/Toronto"), "America/Toronto")
    jump = at("1919-03-30T23:29:59", "America/Toronto") + 1
    assert found.starts_wall == jump
    assert window("hour", jump - 60, "America/Toronto").resets_wall == jump


def test_an_hour_that_comes_twice_is_two_windows() -> None:
    first = window("hour", at("2026-10-25T02:30", "Europe/Berlin", fold=0), "Europe/Berlin")
    second = window("hour", at("2026-10-25T02:30", "Europe/Berlin", fold=1), "Europe/Berlin")
    assert first.resets_wall == second.starts_wall
    assert first.id < second.id


def test_a_clock_moved_by_half_an_hour_cuts_an_hour_in_two() -> None:
    back_at = at("2026-04-04T15:00")  # Lord Howe, 02:00 becomes 01:30
    assert window("hour", back_at - 1, "Australia/Lord_Howe").resets_wall == back_at
    cut = window("hour", back_at + 60, "Australia/Lord_Howe")
    assert (cut.starts_wall, cut.resets_wall) == (back_at, back_at + HOUR // 2)


@pytest.mark.parametrize("per", ["total", "run"])
def test_a_total_never_resets(per: Per) -> None:
    assert window(per, 0.0) == window(per, 4e9, "Asia/Kolkata")
    assert window(per, 0.0).resets_wall is None


@pytest.mark.parametrize("name", ["Europe/Atlantis", "", "../etc/passwd", "Europe"])
def test_an_unknown_time_zone_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        zone(name)


@examples(400)
@given(
    per=st.sampled_from(CALENDAR),
    time_zone=st.sampled_from(ZONES),
    wall=st.integers(at("1990-01-01"), at("2037-12-31")),
)
@example(per="day", time_zone="Pacific/Apia", wall=at("2011-12-30T09:00"))
@example(per="month", time_zone="America/St_Johns", wall=at("2006-10-29T02:31:30"))
@example(per="hour", time_zone="Australia/Lord_Howe", wall=at("2026-10-03T15:29"))
def test_windows_tile_time_and_their_ids_grow(per: Per, time_zone: str, wall: int) -> None:
    here = window(per, wall, time_zone)
    assert here.resets_wall is not None
    assert here.starts_wall <= wall < here.resets_wall
    assert window(per, here.starts_wall, time_zone) == window(per, here.resets_wall - 0.001, time_zone) == here
    after = window(per, here.resets_wall, time_zone)
    assert after.starts_wall == here.resets_wall
    assert after.id > here.id


@examples(60)
@given(time_zone=st.sampled_from(ZONES), day=st.integers(date(2000, 1, 1).toordinal(), date(2036, 1, 1).toordinal()))
def test_a_day_begins_when_the_local_date_first_shows_it(time_zone: str, day: int) -> None:
    noon = datetime.fromordinal(day).replace(hour=12, tzinfo=ZoneInfo(time_zone))
    if datetime.fromtimestamp(noon.timestamp(), noon.tzinfo).toordinal() != day:
        return  # skipped
    starts = window("day", noon.timestamp(), time_zone).starts_wall
    assert datetime.fromtimestamp(starts, noon.tzinfo).toordinal() == day
    assert datetime.fromtimestamp(starts - 1, noon.tzinfo).toordinal() < day
