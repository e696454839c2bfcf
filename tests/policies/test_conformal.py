"""A cheap rung answers only what labels have proven of it, and stops as soon as they prove something else."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.binomial import upper
from policies.conformal import KNOWN_MAX, LABELS_A_FIT, LABELS_KEPT, LABELS_LEAST, NEVER, SETS, Conformal, Floor, Label

KEY = ("writer", "smart", 0)


def label(score: float = 1.0, *, agreed: bool = True, weight: float = 1.0) -> Label:
    return Label(*KEY, score, agreed, weight=weight)


def taught(count: int, score: float = 1.0, *, agreed: bool = True) -> Floor:
    floor = Floor()
    for _ in range(count):
        floor.learn(label(score, agreed=agreed), 0.05)
    return floor


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=LABELS_LEAST - 1), st.floats(0.01, 1))
def test_under_sixty_labels_nothing_is_accepted(labels: list[tuple[float, bool]], loss_max: float) -> None:
    floor = Floor()
    for score, agreed in labels:
        floor.learn(label(score, agreed=agreed), loss_max)
        assert floor.accepts_from == NEVER


def test_steps_that_share_one_word_are_one_label_together() -> None:
    floor = Floor()
    for _ in range(2 * LABELS_LEAST - 1):
        floor.learn(label(weight=0.5), 0.05)
    assert not floor.open
    floor.learn(label(weight=0.5), 0.05)
    assert floor.open


def test_sixty_agreements_prove_five_per_cent() -> None:
    assert not taught(LABELS_LEAST - 1).open
    floor = taught(LABELS_LEAST)
    assert floor.accepts_from == 1.0
    assert floor.bound == pytest.approx(upper(0, LABELS_LEAST))
    assert floor.said() == "worse in at most 3.8% of such answers, by 60 labels"


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), st.booleans()), min_size=60, max_size=400))
def test_what_is_accepted_was_proven_and_nothing_larger_that_was_tried(labels: list[tuple[float, bool]]) -> None:
    floor = Floor()
    for score, agreed in labels:
        floor._labels.append(label(score, agreed=agreed))
        floor._count(floor._labels[-1], 1)
    floor.fit(0.2)

    def bound(least: float) -> float:
        inside = [agreed for score, agreed in labels if score >= least]
        return upper(inside.count(False), len(inside))

    if floor.open:
        assert bound(floor.accepts_from) <= 0.2 + 1e-6
    if bound(0.0) <= 0.2 - 1e-6:
        assert floor.accepts_from == min(score for score, _ in labels)


def test_the_marks_of_good_answers_are_told_from_those_of_bad_ones() -> None:
    rng, floor = Random(1), Floor()
    for _ in range(LABELS_KEPT):
        score = rng.random()
        floor.learn(label(score, agreed=score > 0.6 or rng.random() < 0.3), 0.1)
    assert 0.5 < floor.accepts_from < 0.7
    standing = floor.standing(KEY)
    assert 0.3 < standing.accepted_share < 0.5
    assert standing.loss_at_most <= 0.1


def test_labels_that_are_too_bad_to_be_chance_withdraw_the_rung_at_once() -> None:
    floor = taught(LABELS_LEAST)
    floor.learn(label(agreed=False), 0.05)
    assert floor.open  # one is chance
    floor.learn(label(agreed=False), 0.05)
    assert (floor.open, floor.withdrawn, floor.withdrawals, floor.count) == (False, True, 1, 0)
    assert floor.said() == "withdrawn, as it was worse too often: 0 of 60 labels, so nothing is known"


def test_a_withdrawn_rung_comes_back_with_as_many_labels_as_a_new_one() -> None:
    floor = taught(LABELS_LEAST)
    for _ in range(2):
        floor.learn(label(agreed=False), 0.05)
    for _ in range(LABELS_LEAST - 1):
        floor.learn(label(), 0.05)
        assert not floor.open
    floor.learn(label(), 0.05)
    assert (floor.open, floor.withdrawn, floor.withdrawals) == (True, False, 1)


def test_a_bound_that_a_new_fit_finds_broken_withdraws_the_rung_too() -> None:
    floor = taught(60)
    for at in range(50):
        floor.learn(label(0.5, agreed=at >= 3), 0.05)  # below what is accepted: no test of it
    assert floor.accepts_from == 1.0
    loose = taught(60, 0.5)
    for at in range(50):
        loose.learn(label(0.5, agreed=at not in (10, 25, 40)), 0.05)
    assert (loose.open, loose.withdrawn, loose.withdrawals) == (False, True, 1)
    assert loose.count == 110  # it was no break: what is known goes on counting


def test_answers_below_the_line_do_not_withdraw_it() -> None:
    floor = taught(60)
    for _ in range(20):
        floor.learn(label(0.2, agreed=False), 0.05)
    assert floor.open


def test_the_oldest_labels_count_no_more() -> None:
    floor = taught(LABELS_KEPT, agreed=False)
    for _ in range(LABELS_KEPT + LABELS_A_FIT):
        floor.learn(label(), 0.05)
    assert (floor.count, floor.weight, floor.lost) == (LABELS_KEPT, LABELS_KEPT, 0)
    assert floor.open


def test_a_good_rung_is_rarely_withdrawn_and_a_bad_one_soon() -> None:
    for loss, least, most in ((0.02, 0, 12), (0.3, 98, 100)):
        withdrawn = 0
        for seed in range(100):
            rng, floor = Random(seed), taught(60)
            for _ in range(50):
                floor.learn(label(agreed=rng.random() >= loss), 0.05)
            withdrawn += floor.withdrawals > 0
        assert least <= withdrawn <= most, (loss, withdrawn)


def test_verdicts_say_why() -> None:
    known = Conformal()
    assert known.verdict(KEY, 1.0, 0.05).reason == "0 of 60 labels, so nothing is known"
    for _ in range(60):
        known.learn(label(0.8), 0.05)
    yes, no = known.verdict(KEY, 0.8, 0.05), known.verdict(KEY, 0.7, 0.05)
    assert (yes.accepted, yes.by, no.accepted) == (True, "evidence", False)
    assert no.reason == "its mark 0.70 is below 0.80: worse in at most 3.8% of such answers, by 60 labels"


def test_another_bound_holds_at_once() -> None:
    known = Conformal()
    for _ in range(60):
        known.learn(label(), 0.05)
    assert known.verdict(KEY, 1.0, 0.05).accepted
    assert not known.verdict(KEY, 1.0, 0.01).accepted
    (standing,) = known.standings
    assert (standing.withdrawn, standing.loss_max) == (False, 0.01)
    assert standing.said == "no kind of its answers is surely worse in at most 1.0%, by 60 labels"


def test_agents_do_not_vouch_for_each_other() -> None:
    known = Conformal()
    for _ in range(60):
        known.learn(label(), 0.05)
    assert known.is_open(KEY)
    assert not known.is_open(("reader", "smart", 0))
    assert not known.verdict(("reader", "smart", 0), 1.0, 0.05).accepted


def test_what_is_reset_is_forgotten() -> None:
    known = Conformal()
    for agent, model in (("a", "x"), ("a", "y"), ("b", "x")):
        known.learn(Label(agent, model, 0, 1.0, True), 0.05)
    assert known.reset("a", "x") == 1
    assert {each.key for each in known.labels} == {("a", "y", 0), ("b", "x", 0)}
    assert known.reset(None, "x") == 1
    assert known.reset(None, None) == 1
    assert known.standings == []


def test_whoever_learns_the_labels_again_knows_the_same() -> None:
    known, again = Conformal(), Conformal()
    for at in range(160):
        known.learn(label(at % 10 / 10, agreed=at % 10 > 3), 0.2)
    for each in known.labels:
        again.learn(each, 0.2)
    assert again.standings == known.standings
    assert repr(again) == f"Conformal(Recent(1 of {KNOWN_MAX}))"


def test_equal_marks_are_never_parted() -> None:
    floor = Floor()
    for at in range(100):
        floor.learn(label(0.5, agreed=at % SETS != 0), 0.05)
    assert not floor.open
    assert repr(floor) == "Floor(100 labels, from 2.000, withdrawn=False)"
