"""How fast a budget is being spent, when it will be empty, and how hard that should bear on the choice of targets.

The rate is the faster of the last hour's and the last day's, so that neither a burst nor a quiet night hides the other.
Pacing compares what is used with a straight line through the window: ahead of it by a tenth, the pace rises by 0.1
every `EVERY_S`, under it it falls again. It makes dear targets rarer, at its highest it holds back calls of priority
`batch`, and it refuses nothing. Figures are in the limit's own unit and whole; nothing here is money that anyone is
charged.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from policies.windows import window
from proxy.types import Per, Priority

HOUR_S: Final = 3_600
EVERY_S: Final = 30.0
SPAN_LEAST_S: Final = 60  # a rate of less is noise
PACE_MAX: Final = 10  # tenths
AHEAD: Final = (11, 10)  # of the line, as a fraction
PACED: Final[frozenset[Per]] = frozenset({"hour", "day", "week", "month"})  # longer than a few steps of the pace


class Ring:
    """What was spent in the last `slots` stretches of `slot_s`; what is older is forgotten."""

    __slots__ = ("_newest", "_slot_s", "_slots")

    def __init__(self, slots: int, slot_s: int, wall: float) -> None:
        self._slot_s = slot_s
        self._slots = [0] * slots
        self._newest = int(wall) // slot_s

    def add(self, amount: int, wall: float) -> None:
        self._turn(wall)
        self._slots[self._newest % len(self._slots)] += amount

    def total(self, wall: float) -> int:
        self._turn(wall)
        return sum(self._slots)

    def _turn(self, wall: float) -> None:
        """A clock set back adds to the newest stretch."""
        slots, newest = self._slots, int(wall) // self._slot_s
        for passed in range(self._newest + 1, min(newest, self._newest + len(slots)) + 1):
            slots[passed % len(slots)] = 0
        self._newest = max(self._newest, newest)


class Rate:
    """How fast one limit is being spent, as far as it was watched."""

    __slots__ = ("_began", "_day", "_hour")

    def __init__(self, wall: float) -> None:
        self._began = wall
        self._hour = Ring(60, 60, wall)
        self._day = Ring(24, HOUR_S, wall)

    def __repr__(self) -> str:
        return f"Rate(since {self._began:.0f})"

    def add(self, amount: int, wall: float) -> None:
        self._hour.add(amount, wall)
        self._day.add(amount, wall)

    def an_hour(self, wall: float) -> int:
        """The faster of the two. Watched for a shorter time, they are rates of that time."""
        watched = max(SPAN_LEAST_S, int(wall - self._began))
        last_hour = self._hour.total(wall) * HOUR_S // min(watched, HOUR_S)
        last_day = self._day.total(wall) * HOUR_S // min(watched, 24 * HOUR_S)
        return max(last_hour, last_day)


class Forecast(Struct, frozen=True):
    exhausted_wall: float | None  # None: not before the window ends, if the rate stays
    expected_at_end: int | None  # used and held by then; None: the window has no end


def forecast(*, limit: int, taken: int, an_hour: int, wall: float, resets_wall: float | None) -> Forecast:
    """`taken`: used and held."""
    left_s = None if resets_wall is None else max(0.0, resets_wall - wall)
    expected = None if left_s is None else taken + int(an_hour * left_s) // HOUR_S
    if taken >= limit:
        return Forecast(wall, expected)
    if an_hour <= 0:
        return Forecast(None, expected)
    in_s = (limit - taken) * HOUR_S / an_hour
    return Forecast(None if left_s is not None and in_s >= left_s else wall + in_s, expected)


def paced(pace: int, *, used: int, limit: int, passed_s: float, whole_s: float) -> int:
    """The pace `EVERY_S` later, in tenths."""
    if limit <= 0:
        return 0
    spent, plan = used * whole_s, limit * passed_s
    if spent * AHEAD[1] > plan * AHEAD[0]:
        return min(PACE_MAX, pace + 1)
    return max(0, pace - 1) if spent <= plan else pace


def pace_in(pace: int, *, used: int, limit: int, per: Per, time_zone: str, wall: float) -> int:
    """As `paced`, for the window of the calendar that is open."""
    if per not in PACED:
        return 0
    opened = window(per, wall, time_zone)
    if opened.resets_wall is None:
        return 0
    whole_s = opened.resets_wall - opened.starts_wall
    return paced(pace, used=used, limit=limit, passed_s=wall - opened.starts_wall, whole_s=whole_s)


def held_back(priority: Priority, pace: int) -> bool:
    """What has time waits until spending has fallen back to its line."""
    return pace >= PACE_MAX and priority == "batch"
