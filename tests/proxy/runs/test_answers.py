"""The last answer of each run is kept, within bounds, and for nobody else."""

from __future__ import annotations

from proxy.runs.answers import ANSWER_CHARS_MAX, KEPT_S, Answers, whose
from proxy.types import Identity

ONE, OTHER = ("k", "a", "one"), ("k", "a", "other")


def test_the_last_one_counts() -> None:
    answers = Answers()
    answers.keep(ONE, "first", 0.0)
    answers.keep(ONE, "second", 1.0)
    assert (answers.find(ONE, 2.0), answers.find(OTHER, 2.0), answers.size) == ("second", None, 6)


def test_one_that_is_too_long_leaves_the_one_before() -> None:
    answers = Answers()
    answers.keep(ONE, "short", 0.0)
    answers.keep(ONE, "x" * (ANSWER_CHARS_MAX + 1), 1.0)
    assert answers.find(ONE, 1.0) == "short"


def test_the_longest_unused_makes_room() -> None:
    answers = Answers(chars_max=10)
    for number in range(4):
        answers.keep(("k", "a", str(number)), "1234", 0.0)
    assert [answers.find(("k", "a", str(number)), 0.0) for number in range(4)] == [None, None, "1234", "1234"]
    assert answers.size == 8


def test_the_old_ones_go() -> None:
    answers = Answers()
    answers.keep(ONE, "old", 0.0)
    assert answers.find(ONE, KEPT_S + 1) is None
    answers.keep(OTHER, "new", KEPT_S + 1)
    assert answers.size == 3


def test_key_and_agent_count_beside_the_run() -> None:
    names = {whose(Identity(key, agent), "r") for key in "kl" for agent in "ab"}
    assert len(names) == 4


def test_texts_are_not_shown() -> None:
    answers = Answers()
    answers.keep(ONE, "secret", 0.0)
    assert "secret" not in repr(answers)
