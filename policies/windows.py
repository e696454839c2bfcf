"""Which window of the calendar an instant lies in: the minute, hour, day, week (from Monday) or month of a time zone.

Windows tile time: each ends where the next begins, and ids only grow. A local day lasts 23, 24 or 25 hours; a day that
a time zone skips has no window; a midnight that comes twice begins its day the first time. Hours and minutes are cut
where the zone moves its clock inside them. This module may use `zoneinfo` and `datetime`, for the arithmetic of the
calendar only (RFC 9557, the IANA time zone database): what time it is comes as an argument.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from math import floor
from typing import Final, Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from proxy.types import Per

Calendar = Literal["day", "week", "month"]

MINUTE_S: Final = 60
HOUR_S: Final = 3_600


class Window(Struct, frozen=True):
    """A stretch of wall time, its beginning included and its end not."""

    id: int  # minutes and hours: the minute of their beginning, since 1970; the others count days, weeks or months
    starts_wall: int
    resets_wall: int | None  # None: it never ends


ALWAYS: Final = Window(id=0, starts_wall=0, resets_wall=None)


def window(per: Per, wall: float, time_zone: str = "UTC") -> Window:
    second = floor(wall)
    match per:
        case "minute":
            return _of_the_clock(MINUTE_S, second, zone(time_zone))
        case "hour":
            return _of_the_clock(HOUR_S, second, zone(time_zone))
        case "total" | "run":
            return ALWAYS
    return _of_the_calendar(per, second, zone(time_zone))


def zone(name: str) -> tzinfo:
    """Raises ValueError for a name that the time zone database does not have."""
    if name == "UTC":
        return UTC  # without the database: a small image may not have one
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone; expected a name such as Europe/Berlin, or UTC.") from None


def _of_the_clock(length_s: int, second: int, zone: tzinfo) -> Window:
    offset = _offset_s(second, zone)
    start = second - (second + offset) % length_s
    end = start + length_s
    if _offset_s(start, zone) != offset:
        start = _moved_at(start, second, zone)
    if _offset_s(end - 1, zone) != offset:
        end = _moved_at(second, end - 1, zone)
    return Window(id=start // MINUTE_S, starts_wall=start, resets_wall=end)


def _of_the_calendar(per: Calendar, second: int, zone: tzinfo) -> Window:
    id = _number(per, datetime.fromtimestamp(second, zone).date())
    resets = _begins(per, id + 1, zone)
    if resets <= second:  # a clock set back over midnight shows the old date again, but the new day has begun
        id += 1
        resets = _begins(per, id + 1, zone)
    return Window(id=id, starts_wall=_begins(per, id, zone), resets_wall=resets)


def _number(per: Calendar, day: date) -> int:
    if per == "month":
        return day.year * 12 + day.month - 1
    return day.toordinal() if per == "day" else (day.toordinal() - 1) // 7  # day 1 was a Monday


def _first_day(per: Calendar, number: int) -> date:
    if per == "month":
        return date(number // 12, number % 12 + 1, 1)
    return date.fromordinal(number if per == "day" else number * 7 + 1)


def _begins(per: Calendar, number: int, zone: tzinfo) -> int:
    """The first second at which the local clock shows midnight of the window's first day, or has jumped over it."""
    day = _first_day(per, number)
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    second = int(midnight.timestamp())
    shown = datetime.fromtimestamp(second, zone)
    if shown.replace(tzinfo=None, fold=0) == midnight.replace(tzinfo=None):
        return second
    return _moved_at(int(midnight.replace(fold=1).timestamp()), second, zone)


def _moved_at(before: int, after: int, zone: tzinfo) -> int:
    """The first second, above `before` and up to `after`, at which the zone has the offset it has at `after`."""
    offset = _offset_s(after, zone)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset_s(middle, zone) == offset:
            after = middle
        else:
            before = middle
    return after


def _offset_s(second: int, zone: tzinfo) -> int:
    offset = datetime.fromtimestamp(second, zone).utcoffset() or timedelta()
    return floor(offset.total_seconds())


def iso(wall: float) -> str:
    """An instant as RFC 3339 text in UTC, to the second."""
    return datetime.fromtimestamp(floor(wall), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
