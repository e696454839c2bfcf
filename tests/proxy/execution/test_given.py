"""A word about an answer is a label of its rung; one about a run is shared over the run's answers."""

from __future__ import annotations

import pytest

from policies.conformal import Label
from proxy.execution.given import CALLS_MAX, STEPS_MAX, Feedback, Given

LABEL = Label("a", "smart", 0, 0.9, True)


def test_a_word_about_an_answer_is_one_label() -> None:
    given = Given()
    given.add("c1", None, LABEL)
    (label,) = given.labels(Feedback(0.0, request="c1"))
    assert (label.agreed, label.source, label.weight, label.score) == (False, "feedback", 1.0, 0.9)
    assert given.labels(Feedback(1.0, request="c1")) == [], "once"
    assert given.labels(Feedback(1.0, request="other")) == []
    assert given.labels(Feedback(1.0)) == []


@pytest.mark.parametrize(("score", "good"), [(0.0, False), (0.49, False), (0.5, True), (1.0, True)])
def test_from_the_middle_on_an_answer_was_right(score: float, good: bool) -> None:
    assert Feedback(score).good is good


def test_a_word_about_a_run_weighs_one_label_in_all() -> None:
    given = Given()
    for at in range(4):
        given.add(f"c{at}", "r", LABEL)
    given.add("elsewhere", "s", LABEL)
    assert len(given.labels(Feedback(1.0, request="c0"))) == 1
    labels = given.labels(Feedback(0.2, run="r"))
    assert [label.weight for label in labels] == [1 / 3] * 3, "of one step was spoken before"
    assert not any(label.agreed for label in labels)
    assert given.labels(Feedback(0.2, run="r")) == []
    assert given.labels(Feedback(0.2, run="nobody's")) == []


def test_no_more_is_kept_than_allowed() -> None:
    given = Given()
    for at in range(CALLS_MAX + 1):
        given.add(f"c{at}", "r", LABEL)
    assert given.labels(Feedback(1.0, request="c0")) == []
    assert len(given.labels(Feedback(1.0, run="r"))) == STEPS_MAX
    assert repr(given).startswith("Given(")
