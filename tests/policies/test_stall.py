"""A stream is taken for dead after a multiple of what its target's streams usually pause, never before ten seconds."""

from __future__ import annotations

from math import inf

from policies.stall import FLOOR_S, GAPS_LEAST, GAPS_MAX, STREAMS_LEAST, TIMES, Stalls

EDGES = (0.1, 1.0, 2.0, 5.0)
QUICK = (100, 0, 0, 0, 0)


def learnt(*streams: tuple[int, ...]) -> Stalls:
    stalls = Stalls(EDGES)
    for counts in streams:
        stalls.ended("a", counts)
    return stalls


def test_who_is_not_known_is_waited_for_as_long_as_it_is_configured() -> None:
    assert Stalls(EDGES).limit_s("a") == inf
    assert learnt(*[QUICK] * (STREAMS_LEAST - 1)).limit_s("a") == inf
    few = [(GAPS_LEAST // STREAMS_LEAST - 1, 0, 0, 0, 0)] * STREAMS_LEAST
    assert learnt(*few).limit_s("a") == inf


def test_quick_streams_may_pause_for_ten_seconds() -> None:
    stalls = learnt(*[QUICK] * STREAMS_LEAST)
    assert stalls.limit_s("a") == FLOOR_S
    assert stalls.limit_s("b") == inf


def test_one_gap_in_a_hundred_does_not_count_and_two_do() -> None:
    assert learnt(*[(99, 0, 0, 1, 0)] * STREAMS_LEAST).limit_s("a") == FLOOR_S
    assert learnt(*[(98, 0, 2, 0, 0)] * STREAMS_LEAST).limit_s("a") == TIMES * 2.0
    assert learnt(*[(98, 0, 0, 2, 0)] * STREAMS_LEAST).limit_s("a") == TIMES * 5.0


def test_pauses_above_every_bucket_have_no_bound_of_ours() -> None:
    assert learnt(*[(90, 0, 0, 0, 10)] * STREAMS_LEAST).limit_s("a") == inf


def test_what_changes_is_learnt_again() -> None:
    stalls = learnt(*[QUICK] * 40)
    for _ in range(40):
        stalls.ended("a", (50, 0, 0, 50, 0))
    assert stalls.limit_s("a") == TIMES * 5.0


def test_the_present_outweighs_the_past() -> None:
    many = GAPS_MAX // 10
    stalls = learnt(*[(many, 0, 0, 0, 0)] * 2_000)
    for _ in range(2):
        for _ in range(16):
            stalls.ended("a", (0, 0, 0, GAPS_LEAST, 0))
    assert stalls.limit_s("a") == TIMES * 5.0
    assert repr(stalls) == "Stalls(1 targets)"
