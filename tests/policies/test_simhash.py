"""Texts that hardly differ are near each other, others are not."""

from __future__ import annotations

import random

import pytest

from policies import simhash
from policies.simhash import WORDS_LEAST, WORDS_MAX, fingerprint, near

CHANCE = random.Random(3)
WORDS = ["".join(CHANCE.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(2_000)]


def text(count: int) -> str:
    return " ".join(CHANCE.choices(WORDS, k=count))


def by_the_book(words: list[str]) -> int:
    """As the paper has it, one bit after the other."""
    found = 0
    for bit in range(64):
        votes = sum([1 if simhash._digest(word) >> bit & 1 else -1 for word in words])
        found |= (votes > 0) << bit
    return found


@pytest.mark.parametrize("count", [WORDS_LEAST, WORDS_LEAST + 1, 50, 51, WORDS_MAX])
def test_it_is_the_fingerprint_of_the_paper(count: int) -> None:
    words = CHANCE.choices(WORDS, k=count)
    assert fingerprint(" ".join(words)) == by_the_book(words)


def test_case_figures_and_punctuation_do_not_count() -> None:
    one = "Attempt 3: I will look for the flight to Berlin once more, as the last search (at 10:42) found nothing."
    other = "attempt 14 - I will look for the flight to berlin once more as the last search at 11:07 found nothing"
    assert fingerprint(one) == fingerprint(other)


def test_a_word_more_in_a_long_text_is_near() -> None:
    texts = [text(120) for _ in range(200)]
    assert sum(near(fingerprint(each), fingerprint(each + " well")) for each in texts) > 150


def test_other_texts_are_not_near() -> None:
    prints = [fingerprint(text(40)) for _ in range(200)]
    assert not any(near(one, other) for at, one in enumerate(prints) for other in prints[:at])


def test_a_short_text_is_near_only_to_itself() -> None:
    assert near(fingerprint("let me check again"), fingerprint("Let me check again."))
    assert not near(fingerprint("let me check again"), fingerprint("let me check it again"))


def test_no_text_is_near_to_nothing() -> None:
    assert fingerprint("") == fingerprint("123 !") == 0
    assert not near(0, 0)


def test_of_a_very_long_text_beginning_and_end_are_looked_at() -> None:
    long = text(5_000)
    changed = long[: len(long) // 2] + text(200) + long[len(long) // 2 + 1_000 :]
    assert fingerprint(long) == fingerprint(changed)
    assert not near(fingerprint(long), fingerprint(text(5_000)))
