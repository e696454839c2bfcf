"""Intervals: known answers, and how often they miss the truth where the truth is known."""

from __future__ import annotations

from math import inf, sqrt
from random import Random
from statistics import fmean, variance

import pytest

from policies import interval
from policies.interval import Mean, Sides, Sums


def single(values: list[float]) -> list[Sums]:
    """Units of one call."""
    return [(value, 1.0) for value in values]


def known(values: list[float]) -> Mean:
    found = interval.mean(single(values))
    assert found is not None
    return found


def share(good: int, of: int) -> Mean:
    return known([1.0] * good + [0.0] * (of - good))


ONE = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4]
OTHER = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.0, 23.9]


def test_the_interval_of_two_means_is_welchs() -> None:
    (once, _) = interval.difference(known(ONE), known(OTHER))
    one, other = variance(ONE) / len(ONE), variance(OTHER) / len(OTHER)
    degrees = (one + other) ** 2 / (one**2 / (len(ONE) - 1) + other**2 / (len(OTHER) - 1))
    assert degrees == pytest.approx(27.7, abs=0.05)
    half = 2.0492 * sqrt(one + other)  # Student's quantile, from a table: 2.0518 at 27 degrees, 2.0484 at 28
    middle = fmean(OTHER) - fmean(ONE)
    assert (once.low, once.high) == pytest.approx((middle - half, middle + half), abs=0.003)


def test_a_mean_over_units_has_the_spread_between_them() -> None:
    """Ten calls of one run that are all alike are worth one call."""
    alone = interval.mean(single([1.0, 2.0, 3.0, 4.0]))
    grown = interval.mean([(10.0, 10.0), (20.0, 10.0), (30.0, 10.0), (40.0, 10.0)])
    assert alone is not None
    assert grown is not None
    assert (grown.value, grown.units) == (alone.value, 4)
    assert grown.variance == pytest.approx(alone.variance)


@pytest.mark.parametrize("units", [[], [(0.0, 0.0)], [(5.0, 0.0)]])
def test_of_nothing_there_is_no_mean(units: list[Sums]) -> None:
    assert interval.mean(units) is None


def test_of_one_unit_the_spread_is_not_known() -> None:
    one = known([3.0])
    assert one.variance is None
    assert interval.difference(one, known([1.0, 2.0]))[0] == (-inf, inf)
    assert interval.worth(one) == 1.0


@pytest.mark.parametrize(("degrees", "quantile"), [(5, 2.571), (10, 2.228), (30, 2.042), (100, 1.984), (inf, 1.960)])
def test_one_look_is_students(degrees: float, quantile: float) -> None:
    assert interval.at_one_look(degrees) == pytest.approx(quantile, rel=0.01)


def test_all_looks_cost_half_as_much_again() -> None:
    """By the formula of Waudby-Smith et al., with the mixture that is narrowest there."""
    assert interval.at_any_look(500) == pytest.approx(3.035, abs=0.001)
    near = [interval.at_any_look(units) / sqrt(units) for units in (60, 500, 5_000)]
    assert near == sorted(near, reverse=True)
    assert interval.at_any_look(60) > 3.0 < interval.at_any_look(100_000)


# Newcombe (1998), table II, method 10.
@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 10), 0.6075, 1.0),
        ((10, 10), (0, 20), 0.6791, 1.0),
    ],
)
def test_the_interval_of_two_shares_is_newcombes(
    one: tuple[int, int], other: tuple[int, int], low: float, high: float
) -> None:
    (once, _) = interval.share_difference(share(*other), share(*one))
    assert (once.low, once.high) == pytest.approx((low, high), abs=0.004)


def test_the_interval_of_a_share_is_wilsons() -> None:
    found = interval.wilson(share(81, 263))
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=0.0005)
    assert interval.wilson(share(0, 20)).low == 0.0
    assert interval.wilson(share(20, 20)).high == 1.0


def test_a_share_over_units_that_are_alike_is_worth_so_many_units() -> None:
    clustered = interval.mean([(10.0, 10.0)] * 10 + [(0.0, 10.0)] * 10)
    assert clustered is not None
    assert interval.worth(clustered) == pytest.approx(20.0)
    assert interval.worth(share(100, 200)) == pytest.approx(200.0)
    assert interval.worth(share(20, 20)) == 20.0


def test_units_that_both_have_take_their_own_spread_out() -> None:
    rng = Random(1)
    table: list[Sides] = []
    for _ in range(200):
        hard = rng.lognormvariate(0, 1)
        table.append(((hard, 1.0), (hard * 0.9 + rng.gauss(0, 0.01), 1.0)))
    one, other = (interval.mean([sides[at] for sides in table]) for at in (0, 1))
    assert one is not None
    assert other is not None
    common = interval.covariance(table, one, other)
    assert interval.difference(one, other, common)[1].high < 0
    assert interval.difference(one, other)[1].holds(0.0)


def test_a_table_of_constants_shows_no_difference() -> None:
    """Sums of many equal numbers differ in their last digits."""
    once, ever = interval.difference(known([0.1] * 999), known([0.1] * 1_700))
    assert once.holds(0.0)
    assert ever.holds(0.0)


def test_for_the_same_money() -> None:
    rng = Random(2)
    good: dict[str, Sides] = {}
    cost: dict[str, Sides] = {}
    for number in range(2_000):
        here = number % 2
        dollars, right = rng.uniform(0.5, 1.5) * (1, 0.5)[here], float(rng.random() < (0.8, 0.6)[here])
        sides = [((right, 1.0), (0.0, 0.0)), ((0.0, 0.0), (right, 1.0))]
        prices = [((dollars, 1.0), (0.0, 0.0)), ((0.0, 0.0), (dollars, 1.0))]
        good[str(number)], cost[str(number)] = sides[here], prices[here]
    found = interval.ratio(good, cost)
    assert found is not None
    times, ever = found
    assert ever.holds(1.5)  # 0.6 / 0.5 by 0.8 / 1
    assert times == pytest.approx(1.5, abs=0.1)
    assert ever.low > 1.2


def test_what_costs_nothing_has_no_ratio() -> None:
    nothing: dict[str, Sides] = {str(at): ((0.0, 1.0), (0.0, 1.0)) for at in range(9)}
    some: dict[str, Sides] = {str(at): ((1.0, 1.0), (1.0, 1.0)) for at in range(9)}
    assert interval.ratio(some, nothing) is None
    assert interval.ratio(some, some) is not None


@pytest.mark.parametrize("seed", range(2))
def test_whoever_looks_after_every_unit_is_rarely_misled(seed: int) -> None:
    """Fifty experiments without a difference, looked at after each of 400 units from the thirtieth on."""
    rng, once_misled, ever_misled = Random(seed), 0, 0
    for _ in range(50):
        values = [rng.lognormvariate(0, 1) for _ in range(400)]
        misled = _looks(values)
        once_misled += misled[0]
        ever_misled += misled[1]
    assert ever_misled <= 5  # 5 % are allowed; more than 5 of 50 would be chance in 4 of 100
    assert once_misled > 10


def _looks(values: list[float]) -> tuple[bool, bool]:
    """Arms in turn; whether any look at the one-look interval, and at the other, misses 0."""
    once_missed = ever_missed = False
    for end in range(60, len(values) + 1, 10):
        once, ever = interval.difference(known(values[:end:2]), known(values[1:end:2]))
        once_missed, ever_missed = once_missed or not once.holds(0.0), ever_missed or not ever.holds(0.0)
    return once_missed, ever_missed
