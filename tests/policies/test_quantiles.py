"""Two per cent, a fading past, and what is still to come."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.quantiles import LEAST_S, MOST_S, WEIGHT_MAX, Quantiles


def of(values: list[float], step_s: float = 0.0) -> Quantiles:
    found = Quantiles()
    for number, value in enumerate(values):
        found.add(value, number * step_s)
    return found


@given(st.lists(st.floats(0.002, 900.0), min_size=1, max_size=60), st.sampled_from([0.1, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_within_a_bucket_of_the_true_one(values: list[float], share: float) -> None:
    exact = sorted(values)[max(0, -int(-len(values) * share // 1) - 1)]
    found = of(values).quantile(share)
    assert found is not None
    assert found == pytest.approx(exact, rel=0.041)


def test_many_samples_are_two_per_cent_exact() -> None:
    rng = Random(1)
    values = [rng.lognormvariate(0.0, 0.5) for _ in range(20_000)]
    found = of(values)
    for share in (0.25, 0.5, 0.9, 0.98):
        assert found.quantile(share) == pytest.approx(sorted(values)[int(share * len(values))], rel=0.02)


def test_without_samples_nothing_is_said() -> None:
    found = Quantiles()
    assert (found.quantile(0.5), found.mean_remaining(1.0), found.count) == (None, None, 0.0)
    assert found.share_below(1.0) == 0.0


@pytest.mark.parametrize(("value", "edge"), [(0.0, LEAST_S), (1e-9, LEAST_S), (1e9, MOST_S)])
def test_what_lies_outside_counts_at_the_edge(value: float, edge: float) -> None:
    assert of([value]).quantile(0.5) == pytest.approx(edge, rel=0.04)


def test_the_past_halves_with_time_and_samples_whichever_is_later() -> None:
    rare = of([1.0] * 100, step_s=60.0)  # 100 samples in 100 minutes: no half-life of samples is over
    assert rare.count == pytest.approx(84.6, rel=0.01)
    busy = of([1.0] * 3_000, step_s=0.1)  # 3,000 samples in 300 seconds: the first weighs half
    assert busy.count == pytest.approx(3_000 * 0.7213, rel=0.01)


def test_a_new_law_is_learnt_within_a_few_half_lives() -> None:
    found = of([1.0] * 1_000 + [5.0] * 700, step_s=2.0)
    assert found.quantile(0.2) == pytest.approx(5.0, rel=0.03)


def test_years_of_samples_do_not_overflow() -> None:
    found = Quantiles()
    for number in range(20_000):
        found.add(1.0 + number % 2, number * 10.0)
        assert found._weight <= WEIGHT_MAX
    assert found.count == pytest.approx(289.0, rel=0.01)
    assert found.share_below(1.5) == pytest.approx(0.5, abs=0.01)


def test_a_censored_sample_is_spread_over_what_took_longer() -> None:
    found = of([0.2] * 90 + [2.0] * 8 + [10.0] * 2)
    for _ in range(10):
        found.add_censored(0.65, 0.0)
    assert found.count == pytest.approx(110.0)
    assert found.share_below(1.0) == pytest.approx(90 / 110)
    assert found.share_below(5.0) == pytest.approx(106 / 110)  # eight of ten went to 2 s, two to 10 s


def test_a_censored_sample_beyond_everything_seen_counts_twice_its_age() -> None:
    found = of([0.2] * 9)
    found.add_censored(3.0, 0.0)
    assert found.quantile(1.0) == pytest.approx(6.0, rel=0.04)


def test_giving_up_the_slow_ones_does_not_make_a_target_look_fast() -> None:
    rng, found = Random(3), Quantiles()
    for number in range(4_000):
        value = 2.0 if rng.random() < 0.05 else 0.2
        if value > 0.5 and number > 200:
            found.add_censored(0.5, number * 0.1)
        else:
            found.add(value, number * 0.1)
    assert found.share_below(1.0) == pytest.approx(0.95, abs=0.01)


def test_what_remains_is_the_mean_of_those_that_got_older() -> None:
    found = of([0.2] * 90 + [2.0] * 5 + [4.0] * 5)
    assert found.mean_remaining(0.5) == pytest.approx(2.5, rel=0.03)
    assert found.mean_remaining(2.5) == pytest.approx(1.5, rel=0.05)
    assert found.mean_remaining(5.0) is None


@pytest.mark.parametrize(
    ("least", "worth", "patience"),
    [
        (0.5, 1.0, 0.5),  # 1.5 s are to come at once
        (0.1, 1.0, 0.2),  # most are nearly there: not before they are
        (0.5, 3.0, 3.0),  # never that much; and beyond all it must have lasted as long
        (2.5, 0.5, 2.5),
    ],
)
def test_patience_ends_when_enough_is_still_to_come(least: float, worth: float, patience: float) -> None:
    found = of([0.2] * 95 + [2.0] * 5)
    assert found.patience_s(least, worth) == pytest.approx(patience, rel=0.05)


@given(st.lists(st.floats(0.01, 100.0), max_size=40), st.floats(0.01, 50.0), st.floats(0.01, 50.0))
def test_patience_is_never_short_of_its_least(values: list[float], least: float, worth: float) -> None:
    found = of(values)
    patience = found.patience_s(least, worth)
    assert patience >= least
    remaining = found.mean_remaining(patience)
    assert (patience if remaining is None else remaining) >= worth * 0.9 - patience * 0.05


def test_it_shows_itself() -> None:
    assert repr(of([1.0])).startswith("Quantiles(1 samples")


def test_samples_of_others_fill_up_at_their_own_scale_and_change_neither() -> None:
    own, shape = of([20.0] * 10), of([1.0] * 95 + [10.0] * 5)
    found = own.filled_up(shape, 20.0, 90.0)
    assert found.count == pytest.approx(100.0)
    assert found.added == 100
    assert found.quantile(0.5) == pytest.approx(20.0, rel=0.04)
    assert found.quantile(0.99) == pytest.approx(200.0, rel=0.04)
    assert found.share_below(100.0) == pytest.approx(1 - 0.05 * 0.9)
    assert (own.count, shape.count) == (10.0, 100.0)
    assert own.quantile(1.0) == pytest.approx(20.0, rel=0.04)
    assert shape.quantile(0.5) == pytest.approx(1.0, rel=0.04)


def test_what_would_lie_outside_is_counted_at_the_edge() -> None:
    found = of([MOST_S / 2]).filled_up(of([0.01, 10.0]), MOST_S / 2, 2.0)
    assert found.count == pytest.approx(3.0)
    assert found.quantile(1.0) == pytest.approx(MOST_S, rel=0.04)
