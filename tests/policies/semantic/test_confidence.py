from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.semantic.confidence import LABELS_MAX, LEVELS, Entry, Labels, Route
from tests.effort import rounds

LABEL = st.tuples(st.floats(0.85, 1.0), st.booleans())


def taught(labels: list[tuple[float, bool]], route: Route | None = None) -> Entry:
    entry, route = Entry(), route or Route()
    for asker, (similarity, same) in enumerate(labels):
        entry.learn(similarity, same=same, asker=asker, route=route)
    return entry


@pytest.mark.parametrize(
    ("labels", "proven"),
    [([], False), ([True] * 2, False), ([True] * 3, True), ([True, True, False], False), ([True] * 3 + [False], True)],
)
def test_three_confirmations_come_first(labels: list[bool], proven: bool) -> None:
    entry = taught([(0.95, same) for same in labels])
    assert entry.proven == proven
    assert (entry.serve(0.95, 0.01) > 0) == proven


def test_one_asker_alone_proves_nothing() -> None:
    entry = Entry()
    for _ in range(50):
        entry.learn(0.95, same=True, asker=1, route=Route())
    assert entry.serve(0.95, 0.01) == 0
    entry.learn(0.95, same=True, asker=2, route=Route())
    assert entry.serve(0.95, 0.01) > 0


def test_what_is_quarantined_serves_nothing() -> None:
    entry = taught([(0.95, True)] * 100)
    entry.quarantined = True
    assert entry.serve(0.95, 0.2) == 0


def test_the_more_confirmations_the_more_is_served_and_the_less_each_denial() -> None:
    served = [taught([(0.95, True)] * count).serve(0.95, 0.01) for count in (3, 10, 100, 900)]
    assert served == sorted(served)
    assert served[0] < 0.05
    assert served[-1] > 0.5
    assert taught([(0.95, True)] * 100 + [(0.95, False)] * 3).serve(0.95, 0.01) < 0.7 * served[2]


@given(st.lists(LABEL, max_size=40), st.floats(0.85, 1.0), st.floats(0.85, 1.0))
def test_more_similar_is_never_less_sure(labels: list[tuple[float, bool]], one: float, other: float) -> None:
    entry, (low, high) = taught(labels), sorted((one, other))
    assert entry.wrong_at_most(high) <= entry.wrong_at_most(low) + 1e-12
    assert entry.serve(high, 0.01) >= entry.serve(low, 0.01) - 1e-12


@given(st.lists(LABEL, min_size=1, max_size=40), st.floats(0.85, 1.0), st.floats(0.001, 0.2))
def test_what_is_served_wrongly_stays_below_the_bound_at_every_level(
    labels: list[tuple[float, bool]], similarity: float, error_max: float
) -> None:
    entry = taught(labels)
    lows = entry.p_low(similarity)
    assert len(lows) == len(LEVELS)
    assert list(lows) == sorted(lows), "the surer it has to be, the less is certain"
    chance = entry.serve(similarity, error_max)
    assert 0 <= chance <= 1
    assert chance * min(eps + (1 - eps) * (1 - low) for eps, low in zip(LEVELS, lows, strict=True)) <= error_max + 1e-9


def test_the_bound_holds_over_entries_whose_truth_is_drawn_from_the_prior() -> None:
    """Entries right with a chance of their own, asked again and again: of all questions less than 1 % go wrong."""
    rng, route = Random(1), Route()
    asked = wrong = served = 0
    for _ in range(rounds(120)):
        truth, entry = rng.betavariate(6, 1), Entry()
        for asker in range(150):
            same = rng.random() < truth
            asked += 1
            if rng.random() < entry.serve(0.93, 0.01):
                served += 1
                wrong += not same
            else:
                entry.learn(0.93, same=same, asker=asker, route=route)
    assert served > rounds(100)
    assert wrong <= 0.01 * asked


def test_a_route_learns_how_right_the_similar_are_and_never_that_less_is_more() -> None:
    rising, falling, rng = Route(), Route(), Random(2)
    for _ in range(300):
        similarity = rng.uniform(0.85, 1.0)
        rising.learn(similarity, same=rng.random() < (similarity - 0.85) / 0.15)
        falling.learn(similarity, same=rng.random() > (similarity - 0.85) / 0.15)
    assert rising.slope > 10
    assert falling.slope == 0
    assert abs(rising.height) < 0.7


def test_a_popular_entry_does_not_speak_for_the_others() -> None:
    route = Route()
    taught([(0.95, True)] * 500, route)
    assert route.labels.count == 3


def test_labels_are_bounded_and_denials_outlive_confirmations() -> None:
    entry = taught([(0.95, False)] + [(0.95, True)] * (3 * LABELS_MAX))
    assert entry.labels <= LABELS_MAX
    assert entry.labels - entry.same == 1


def test_halves_of_labels() -> None:
    labels = Labels()
    for _ in range(5):
        labels.add(0.9, same=True)
    labels.add(0.2, same=False)
    labels.add(2.0, same=True)
    labels.halve()
    assert labels.count == 3
    assert labels.told() == [(pytest.approx(-0.07), 0, 1), (pytest.approx(-0.02), 2, 0)]
