from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.vote import Rule, Verdict, Vote, VoteRules, plurality, strongest, tally

EQUAL = [1.0] * 15


def held(votes: str, *, rule: Rule = "majority", sizes: tuple[int, ...], strengths: list[float] = EQUAL) -> Vote:
    """`votes`: a letter is an answer, `-` a reply without one, `!` a failure."""
    vote = Vote(rule, sizes, strengths)
    for member, letter in enumerate(votes):
        if letter == "!":
            vote.miss(member)
        else:
            vote.cast(member, None if letter == "-" else letter)
    return vote


@pytest.mark.parametrize(
    ("rule", "size", "votes", "verdict"),
    [
        ("majority", 3, "a", None),
        ("majority", 3, "aa", ("a", "agreed", (2,))),
        ("majority", 3, "ab", None),
        ("majority", 3, "aba", ("a", "agreed", (2, 1))),
        ("majority", 3, "abc", ("a", "tie_broken", (1, 1, 1))),
        ("majority", 5, "aaa", ("a", "agreed", (3,))),
        ("majority", 5, "aab", None),
        ("majority", 5, "aabc", None),
        ("majority", 5, "aabcd", ("a", "plurality", (2, 1, 1, 1))),
        ("majority", 5, "aabcb", ("a", "tie_broken", (2, 2, 1))),
        ("majority", 5, "!aa", None),
        ("majority", 5, "!!aa", ("a", "plurality", (2,))),
        ("majority", 5, "!!!!a", ("a", "plurality", (1,))),
        ("majority", 5, "!!!!!", (None, "failed", ())),
        ("majority", 3, "--", None),
        ("majority", 3, "---", (None, "no_votes", ())),
        ("majority", 3, "--a", ("a", "plurality", (1,))),
        ("majority", 4, "aab", None),
        ("majority", 4, "aaa", ("a", "agreed", (3,))),
        ("majority", 1, "a", ("a", "agreed", (1,))),
        ("majority", 1, "-", (None, "no_votes", ())),
        ("unanimous", 3, "aa", None),
        ("unanimous", 3, "aaa", ("a", "agreed", (3,))),
        ("unanimous", 3, "ab", None),
        ("unanimous", 3, "aba", ("a", "split", (2, 1))),
        ("unanimous", 5, "aaab", ("a", "split", (3, 1))),
        ("unanimous", 3, "aa!", ("a", "split", (2,))),
        ("unanimous", 3, "abc", ("a", "tie_broken", (1, 1, 1))),
        (2, 3, "a", None),
        (2, 3, "ab", None),
        (2, 5, "abcb", ("b", "agreed", (2, 1, 1))),
        (2, 3, "abc", ("a", "tie_broken", (1, 1, 1))),
        (3, 5, "aab!-", ("a", "split", (2, 1))),
        (3, 5, "aabc", None),
    ],
)
def test_a_vote_is_over_when_nothing_can_change_it(
    rule: Rule, size: int, votes: str, verdict: tuple[str | None, str, tuple[int, ...]] | None
) -> None:
    found = held(votes, rule=rule, sizes=(size,)).verdict()
    assert (None if found is None else (found.answer, found.result, found.counts)) == verdict


@pytest.mark.parametrize(
    ("rule", "size", "ended", "due"),
    [
        *(("majority", 1, "", 1), ("majority", 3, "", 2), ("majority", 4, "", 3), ("majority", 5, "", 3)),
        *(("majority", 7, "", 4), ("majority", 5, "ab", 3), ("majority", 5, "aba", 4), ("majority", 5, "!!", 3)),
        *(("majority", 5, "ab!", 4), ("majority", 5, "abab", 5), ("majority", 3, "abc", 3)),
        *(("unanimous", 5, "", 5), (2, 5, "", 5)),
    ],
)
def test_as_many_are_due_as_could_decide_it_and_then_one_more(rule: Rule, size: int, ended: str, due: int) -> None:
    assert held(ended, rule=rule, sizes=(size,)).due == due


def test_the_reply_is_that_of_the_strongest_who_gave_the_answer() -> None:
    strengths = [1.0, 3.0, 2.0]
    assert held("aba", sizes=(3,), strengths=strengths).verdict() == Verdict("a", 2, "agreed", (2, 1))
    assert held("abc", sizes=(3,), strengths=strengths).verdict() == Verdict("b", 1, "tie_broken", (1, 1, 1))
    assert held("---", sizes=(3,), strengths=strengths).verdict() == Verdict(None, 1, "no_votes", ())
    assert strongest([2, 0, 1], EQUAL) == 0, "of equals the one that is asked first"


@pytest.mark.parametrize(
    ("votes", "tied"),
    [("ab", False), ("abc", True), ("abb", False), ("ab!", True), ("---", False), ("!!!", False), ("a-!", False)],
)
def test_only_a_tie_is_helped_by_more_members(votes: str, tied: bool) -> None:
    assert held(votes, sizes=(3, 5)).tied is tied


def test_a_tie_grows_to_the_next_size_as_long_as_there_is_one() -> None:
    vote = held("abc", sizes=(3, 5))
    assert (vote.next_size, vote.due) == (5, 3)
    vote.grow()
    assert (vote.size, vote.next_size, vote.verdict(), vote.due) == (5, None, None, 4)
    vote.cast(3, "c")
    assert vote.verdict() is None
    vote.cast(4, "c")
    assert vote.verdict() == Verdict("c", 2, "agreed", (3, 1, 1))
    assert not vote.tied


def test_a_plurality_is_of_whoever_there_is() -> None:
    assert plurality({0: "a", 2: "b", 3: "b"}, EQUAL) == Verdict("b", 2, "agreed", (2, 1))
    assert plurality({4: None}, EQUAL) == Verdict(None, 4, "no_votes", ())
    assert plurality({}, EQUAL).result == "failed"


def test_votes_are_told_the_most_first_and_then_as_they_came() -> None:
    assert tally({0: "b", 1: "a", 2: None, 3: "a", 4: "c"}) == [("a", [1, 3]), ("b", [0]), ("c", [4])]


LETTERS = st.lists(st.sampled_from("aabbc-!"), min_size=1, max_size=9)
RULES = st.one_of(st.sampled_from(["majority", "unanimous"]), st.integers(1, 4))


@given(LETTERS, RULES, st.randoms())
def test_a_vote_that_ends_early_says_what_the_full_vote_says(votes: list[str], rule: Rule, rng: object) -> None:
    """The answer is the same, whoever is still to come and whatever he would have said."""
    strengths = [rng.random() for _ in votes]  # type: ignore[attr-defined]
    full = held("".join(votes), rule=rule, sizes=(len(votes),), strengths=strengths)
    if isinstance(rule, int):
        full = _first_to_reach(votes, rule, strengths)
    wanted = full.verdict()
    assert wanted is not None
    early = Vote(rule, (len(votes),), strengths)
    asked = 0
    while early.verdict() is None:
        assert early.ended < early.due <= len(votes), "there is somebody to wait for"
        letter = votes[asked]
        if letter == "!":
            early.miss(asked)
        else:
            early.cast(asked, None if letter == "-" else letter)
        asked += 1
    found = early.verdict()
    assert found is not None
    assert found.answer == wanted.answer
    assert found.result != "agreed" or wanted.result == "agreed"


def _first_to_reach(votes: list[str], rule: int, strengths: list[float]) -> Vote:
    """That rule is about who is first: what comes after that is not counted."""
    for count in range(1, len(votes) + 1):
        if max((votes[:count].count(letter) for letter in set("abc") & set(votes)), default=0) >= rule:
            return held("".join(votes[:count]), rule=rule, sizes=(len(votes),), strengths=strengths)
    return held("".join(votes), rule=rule, sizes=(len(votes),), strengths=strengths)


def test_the_defaults_are_three_then_five_then_seven() -> None:
    assert (VoteRules().sizes, VoteRules().rule) == ((3, 5, 7), "majority")
