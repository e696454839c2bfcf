"""A target is slow as a whole, or it is not."""

from __future__ import annotations

import pytest

from policies.lateness import REST_S, WINDOW_S, Lateness


def seen(late: int, prompt: int, *, step_s: float = 0.0) -> tuple[Lateness, float]:
    found, now = Lateness(), 100.0
    for number in range(late + prompt):
        now += step_s
        found.ended("a/m", number >= prompt, now)
    return found, now


@pytest.mark.parametrize(
    ("late", "prompt", "rests"),
    [
        (19, 0, False),  # too few to tell
        (20, 0, True),
        (4, 16, False),  # a fifth, which chance brings about
        (6, 14, True),
        (150, 850, False),
        (180, 820, True),
    ],
)
def test_more_than_fifteen_per_cent_late_is_slow_as_a_whole(late: int, prompt: int, rests: bool) -> None:
    found, now = seen(late, prompt)
    assert found.rests("a/m", now) is rests
    assert not found.rests("b/m", now)


def test_it_rests_for_thirty_seconds() -> None:
    found, now = seen(30, 0)
    assert found.rests("a/m", now + REST_S - 0.1)
    assert not found.rests("a/m", now + REST_S)


def test_what_is_older_than_the_window_does_not_count() -> None:
    found, now = seen(19, 0)
    for _ in range(19):
        found.ended("a/m", True, now + WINDOW_S + 1.0)
    assert not found.rests("a/m", now + WINDOW_S + 1.0)
    found.ended("a/m", True, now + WINDOW_S + 1.0)
    assert found.rests("a/m", now + WINDOW_S + 1.0)


def test_both_halves_of_the_window_count() -> None:
    found, now = seen(12, 0)
    for _ in range(8):
        found.ended("a/m", True, now + WINDOW_S / 2)
    assert found.rests("a/m", now + WINDOW_S / 2)
    assert repr(found) == "Lateness(1 targets)"
