"""How far a difference between two arms may be from what was measured: intervals of 95 %, for one look and for any.

Arms are assigned by unit, and calls of one unit resemble each other, so spread is measured between units: a mean is a
ratio of sums over units, linearised (the delta method; Deng, Knoblich and Lu, KDD 2018), and the interval of a
difference is Welch's, which of units of one call it is exactly. Shares get Wilson's interval, and their difference
Newcombe's (1998, method 10), with as many calls as the spread between units is worth. People look again and again until
something shows, so each interval is also given as one that holds at all looks together: a confidence sequence by a
normal mixture (Robbins, 1970; Waudby-Smith et al., "Time-uniform central limit theory", 2021), narrowest after 500
units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import exp, inf, log, sqrt
from typing import Final, NamedTuple

Z: Final = 1.959964  # 95 % of a normal law lie within
MISSED: Final = 0.05  # how often an interval may miss the truth
NARROWEST: Final = 500.0  # units
ROUNDING: Final = 1e-9  # of sums: what is nearer is the same
_TAIL: Final = -2 * log(MISSED)
MIXTURE: Final = (_TAIL + log(_TAIL + 1)) / NARROWEST

Sums = tuple[float, float]  # of one unit: a sum, and over how many
Sides = tuple[Sums, Sums]  # of one unit in the control's arm and the candidate's


class Mean(NamedTuple):
    """Of one arm. `variance`: of the mean, None where there are fewer than two units."""

    value: float
    calls: float
    units: int
    variance: float | None


class Interval(NamedTuple):
    low: float
    high: float

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


def mean(units: Iterable[Sums]) -> Mean | None:
    """Of units that have something to add; None: there is none."""
    found = [unit for unit in units if unit[1]]
    count = sum([over for _, over in found])
    if not count:
        return None
    value = sum([total for total, _ in found]) / count
    if len(found) < 2:
        return Mean(value, count, len(found), None)
    squares = sum([(total - value * over) ** 2 for total, over in found]) / count**2
    return Mean(value, count, len(found), squares * len(found) / (len(found) - 1))


def at_one_look(degrees: float) -> float:
    """Student's 97.5 % quantile, by Cornish and Fisher's expansion; good to 1 % from five degrees of freedom on."""
    z, z3, z5 = Z, Z**3, Z**5
    return z + (z3 + z) / (4 * degrees) + (5 * z5 + 16 * z3 + 3 * z) / (96 * degrees**2)


def at_any_look(units: float) -> float:
    """Standard errors within which all looks up to now and from now on stay together, of so many units."""
    seen = units * MIXTURE
    return sqrt((seen + 1) / seen * log((seen + 1) / MISSED**2))


def covariance(units: Iterable[Sides], control: Mean, candidate: Mean) -> float:
    """Of the means of two arms that have units in common, as in a shadow; of a split it is 0."""
    parts = [
        (one[0] - control.value * one[1]) * (other[0] - candidate.value * other[1])
        for one, other in units
        if one[1] and other[1]
    ]
    return sum(parts) / (control.calls * candidate.calls)


def difference(control: Mean, candidate: Mean, common: float = 0.0) -> tuple[Interval, Interval]:
    """Of the candidate's mean less the control's: at one look, and at any. `common`: their covariance."""
    if control.variance is None or candidate.variance is None:
        return Interval(-inf, inf), Interval(-inf, inf)
    least = (ROUNDING * (abs(control.value) + abs(candidate.value))) ** 2
    error = sqrt(max(least, control.variance + candidate.variance - 2 * common))
    middle, units = candidate.value - control.value, control.units + candidate.units
    once, ever = error * at_one_look(_degrees(control, candidate)), error * at_any_look(units)
    return Interval(middle - once, middle + once), Interval(middle - ever, middle + ever)


def share_difference(control: Mean, candidate: Mean) -> tuple[Interval, Interval]:
    """The same of shares, whose limits are near at 0 and at 1. Of common units it is on the wide side."""
    once = _newcombe(control, candidate, Z)
    return once, _newcombe(control, candidate, at_any_look(control.units + candidate.units))


def wilson(share: Mean, reach: float = Z) -> Interval:
    count = worth(share)
    spread, middle = reach * reach / count, share.value + reach * reach / (2 * count)
    half = reach * sqrt(share.value * (1 - share.value) / count + spread / (4 * count))
    return Interval(max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread)))


def worth(share: Mean) -> float:
    """As many calls of units of their own would be as sure."""
    own = share.value * (1 - share.value)
    if share.variance is None:
        return 1.0
    if share.variance <= 0 or own <= 0:
        return float(share.units)
    return min(share.calls, own / share.variance * share.units / (share.units - 1))  # calls of their own: all of them


def ratio(tops: Mapping[str, Sides], bottoms: Mapping[str, Sides]) -> tuple[float, Interval] | None:
    """What the candidate has of `tops` for one of `bottoms`, by what the control has: the middle, and at any look.
    Both tables have the same units."""
    means = [mean([sides[at] for sides in table.values()]) for table in (tops, bottoms) for at in (0, 1)]
    known = [each for each in means if each is not None and each.value > 0 and each.units > 1]
    if len(known) < len(means):
        return None
    top, other_top, bottom, other_bottom = known
    squares = 0.0
    for unit, above in tops.items():
        below = bottoms[unit]
        control = _part(above[0], top) - _part(below[0], bottom)
        candidate = _part(above[1], other_top) - _part(below[1], other_bottom)
        squares += (candidate - control) ** 2
    middle = log(other_top.value / other_bottom.value) - log(top.value / bottom.value)
    half = sqrt(squares) * at_any_look(bottom.units + other_bottom.units)
    return exp(middle), Interval(exp(middle - half), exp(middle + half))


def _part(unit: Sums, of: Mean) -> float:
    """What a unit moves the logarithm of a mean by."""
    return (unit[0] - of.value * unit[1]) / (of.calls * of.value)


def _degrees(one: Mean, other: Mean) -> float:
    """Welch and Satterthwaite's."""
    first, second = one.variance or 0.0, other.variance or 0.0
    if not first + second:
        return inf
    return (first + second) ** 2 / (first**2 / (one.units - 1) + second**2 / (other.units - 1))


def _newcombe(control: Mean, candidate: Mean, reach: float) -> Interval:
    one, other = wilson(control, reach), wilson(candidate, reach)
    middle = candidate.value - control.value
    down = sqrt((candidate.value - other.low) ** 2 + (one.high - control.value) ** 2)
    up = sqrt((other.high - candidate.value) ** 2 + (control.value - one.low) ** 2)
    return Interval(middle - down, middle + up)
