"""A small edition of the benchmark: its verdicts, on made-up questions."""

from __future__ import annotations

import pytest

pytest.importorskip("numpy", reason="the extra headgate[semantic] is not installed")

from loadtests.replay.questions import World, world
from tests.caches import semantic
from tests.caches.row import missed


@pytest.fixture(scope="module")
def made() -> World:
    return world(None, seed=0)


@pytest.mark.slow
def test_the_bound_holds_where_fixed_thresholds_break_it(made: World) -> None:
    rows = list(semantic.bound(made, 2, pairs=200, requests=2_500))
    assert not missed(rows)


@pytest.mark.slow
def test_what_is_planted_is_never_served(made: World) -> None:
    assert semantic.hijacks(made, 1, pairs=100, requests=4_000).reached


def test_no_two_requests_of_different_owners_or_parameters_share_a_scope() -> None:
    assert semantic.strangers(200_000).reached


@pytest.mark.slow
def test_without_labels_nothing_is_served_and_with_wrong_ones_nothing_either(made: World) -> None:
    played = semantic.Played(0, made.vectors.shape[1])
    texts = sorted({pair.one for pair in made.pairs} | {pair.other for pair in made.pairs})[:300]
    for number, text in enumerate(texts):
        played.ask(text, number, made.vector(text))
    assert played.hits == 0
