from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.semantic.guard import differ, read

DIFFERENT = [
    ("how far is 5 km on foot", "how far is 6 km on foot", "numbers"),
    ("how far is 5 km on foot", "how far is 5 miles on foot", "numbers"),
    ("is 1,000 $ enough for it", "is 1.000 $ enough for it", "numbers"),
    ("what are two uses of salt", "what are three uses of salt", "numbers"),
    ("which photo formats does model x1 read", "which photo formats does model x2 read", "numbers"),
    ("may I eat this", "may I not eat this", "negation"),
    ("why can't I log in", "why can I log in", "negation"),
    ("should I go with it", "should I go without it", "negation"),
    ('what does "ser" mean', 'what does "estar" mean', "quoted text"),
    ("what does `ls` print", "what does `pwd` print", "quoted text"),
    ("who leads the bank of France", "who leads the bank of Spain", "names"),
    ("where did she grow up", "when did she grow up", "what is asked"),
    ("trains from paris to london", "trains from london to paris", "order"),
    ("how do I sell a used car", "how do I buy a used car", "opposites"),
    ("what is the highest point there", "what is the lowest point there", "opposites"),
    ("why is the sky blue", "why do cats purr", "nearly every word"),
]


@pytest.mark.parametrize(("one", "other", "in_what"), DIFFERENT)
def test_what_an_embedding_hardly_sees_is_seen(one: str, other: str, in_what: str) -> None:
    assert differ(read(one), read(other)) == in_what
    assert differ(read(other), read(one)) == in_what


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I learn Python quickly?", "what is a quick way: learn python quickly"),
        ("Can I deduct 5 km of travel?", "could I deduct travel of 5km?"),
        ("Is it safe in Paris", "is it safe in paris"),
        ("How can I lose weight fast?", "What can I do to lose weight fast?"),
    ],
)
def test_mere_wording_passes(one: str, other: str) -> None:
    assert differ(read(one), read(other)) is None


@given(st.text(max_size=80))
def test_a_text_never_differs_from_itself(text: str) -> None:
    features = read(text)
    assert differ(features, features) in (None, "nearly every word") and differ(features, read(text)) is None


@given(st.text(max_size=60), st.text(max_size=60))
def test_it_does_not_matter_which_was_there_first(one: str, other: str) -> None:
    assert differ(read(one), read(other)) == differ(read(other), read(one))


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_another_number_is_always_seen(one: int, other: int) -> None:
    said = differ(read(f"convert {one} dollars for me"), read(f"convert {other} dollars for me"))
    assert (said is None) == (one == other)
