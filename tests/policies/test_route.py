"""Which target is tried next."""

from __future__ import annotations

from collections import Counter
from random import Random

from policies.route import pick
from tests.build import target

A, B, C = target("a/m", domain="east"), target("b/m", domain="east"), target("c/m", domain="west")


def test_the_first_target_is_drawn_by_weight() -> None:
    heavy = target("heavy/m", weight=9)
    light = target("light/m", weight=1)
    rng = Random(7)
    drawn = Counter(pick((heavy, light), (), rng).id for _ in range(2000))
    assert 1700 < drawn["heavy/m"] < 1900


def test_a_weight_of_nothing_is_never_drawn_first() -> None:
    spare = target("spare/m", weight=0)
    rng = Random(7)
    assert all(pick((spare, A), (), rng) is A for _ in range(200))


def test_all_weights_zero_still_serve() -> None:
    assert pick((target("x/m", weight=0), target("y/m", weight=0)), (), Random(1)).id in ("x/m", "y/m")


def test_a_retry_leaves_the_failure_domain_if_it_can() -> None:
    assert all(pick((A, B, C), (A,), Random(seed)) is C for seed in range(50))


def test_a_retry_takes_any_untried_target_before_a_tried_one() -> None:
    assert all(pick((A, B), (A,), Random(seed)) is B for seed in range(50))


def test_when_all_were_tried_the_last_one_is_avoided() -> None:
    assert all(pick((A, B), (A, B), Random(seed)) is A for seed in range(50))


def test_a_single_target_is_tried_again() -> None:
    assert pick((A,), (A, A), Random(1)) is A
