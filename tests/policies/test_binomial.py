"""Bounds on a chance are those of the exact binomial distribution, also of counts that are no whole numbers."""

from __future__ import annotations

from math import comb

import pytest

from policies.binomial import as_many, beta_share, is_below, upper


def tail(least: int, trials: int, chance: float) -> float:
    return sum(comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(least, trials + 1))


@pytest.mark.parametrize(
    ("failures", "trials", "chance"), [(1, 3, 0.05), (7, 60, 0.2), (40, 500, 0.05), (499, 500, 0.9)]
)
def test_a_tail_is_the_sum_of_its_terms(failures: int, trials: int, chance: float) -> None:
    assert as_many(failures, trials, chance) == pytest.approx(tail(failures, trials, chance), rel=1e-9)


@pytest.mark.parametrize(("failures", "trials"), [(0, 1), (0, 60), (3, 60), (59, 60), (25, 500)])
def test_below_the_bound_the_truth_is_missed_once_in_ten(failures: int, trials: int) -> None:
    bound = upper(failures, trials)
    assert 1 - tail(failures + 1, trials, bound) == pytest.approx(0.1, abs=1e-6)


def test_forty_five_labels_without_a_loss_prove_five_per_cent_and_fewer_do_not() -> None:
    assert is_below(0, 45, 0.05)
    assert not is_below(0, 44, 0.05)


@pytest.mark.parametrize("failures", [0.0, 0.4, 2.5, 30.0])
def test_the_short_question_and_the_bound_agree(failures: float) -> None:
    bound = upper(failures, 60.5)
    assert is_below(failures, 60.5, bound + 1e-6)
    assert not is_below(failures, 60.5, bound - 1e-6)


def test_nothing_proves_nothing() -> None:
    assert upper(0, 0) == 1.0
    assert not is_below(0, 0, 0.99)
    assert is_below(3, 3, 1.0)
    assert as_many(0, 10, 0.5) == 1.0


def test_shares_at_the_ends_are_none_and_all() -> None:
    assert (beta_share(0.0, 2, 3), beta_share(1.0, 2, 3)) == (0.0, 1.0)
    assert beta_share(0.5, 4, 4) == pytest.approx(0.5)
