from __future__ import annotations

import pytest

from policies.semantic.quality import STEPS_MAX, Quality


def test_a_false_hit_halves_the_bound_until_enough_went_well() -> None:
    quality = Quality()
    quality.labelled(0.5, same=False, stated=0.01)
    assert quality.error_max(0.01) == 0.005
    for _ in range(199):
        quality.looked_up(0.01)
    assert quality.error_max(0.01) == 0.005
    quality.looked_up(0.01)
    assert quality.error_max(0.01) == 0.01


def test_it_is_never_halved_beyond_return() -> None:
    quality = Quality()
    for _ in range(50):
        quality.reported(0.01)
    assert quality.error_max(0.01) == pytest.approx(0.01 / 2**STEPS_MAX)


def test_a_denial_of_what_would_not_have_been_served_is_no_false_hit() -> None:
    quality = Quality()
    quality.labelled(0.0, same=False, stated=0.01)
    assert (quality.labels, quality.false_hits, quality.error_max(0.01)) == (1, 0, 0.01)


def test_denials_of_what_would_rarely_have_been_served_are_a_false_hit_together() -> None:
    quality = Quality()
    for seen in (0, 0, 0, 1):
        quality.labelled(0.2, same=False, stated=0.01)
        assert quality.false_hits == seen, "four times one in four"


def test_the_ratio_is_that_of_the_hits_that_labels_stand_for() -> None:
    quality = Quality()
    assert quality.false_hit_ratio == 0
    for _ in range(90):
        quality.hit()
    for same in [True] * 9 + [False]:
        quality.labelled(0.9, same=same, stated=0.2)
    assert quality.false_hit_ratio == pytest.approx(0.1)


def test_what_serves_more_weighs_more() -> None:
    quality = Quality()
    quality.hit()
    quality.labelled(0.9, same=True, stated=0.2)
    quality.labelled(0.1, same=False, stated=0.2)
    assert quality.false_hit_ratio == pytest.approx((1 / 9) / (9 + 1 / 9))


def test_more_false_hits_than_the_bound_allows_switch_it_off() -> None:
    quality = Quality()
    for _ in range(100):
        quality.looked_up(0.01)
        quality.hit()
    for count in (1, 2, 3):
        assert not quality.off
        quality.reported(0.01)
        assert quality.false_hits == count
    assert quality.off


def test_as_many_as_the_bound_allows_do_not() -> None:
    quality = Quality()
    for number in range(9_000):
        quality.looked_up(0.01)
        quality.hit()
        if number % 200 == 199:
            quality.reported(0.01)
    assert not quality.off


def test_what_was_long_ago_counts_less() -> None:
    quality = Quality()
    for _ in range(5):
        quality.hit()
        quality.reported(0.2)
    for _ in range(30_000):
        quality.looked_up(0.2)
        quality.hit()
    assert quality.false_hit_ratio < 0.001
