"""What active runs may hold between them: more while caches serve and others wait, less once runs evict each other."""

from __future__ import annotations

import pytest

from policies.gate_limit import RUNS, TOKENS, Limit

MEMORY = 1_000_000.0


def limit(share: float | None = None) -> Limit:
    return Limit(TOKENS, MEMORY, share)


def read(of: Limit, cached: float, *, calls: int = 50, in_use: float = 800_000, wanted: bool = True) -> list[bool]:
    return [of.read(1_000, int(cached * 1_000), in_use=in_use, wanted=wanted) for _ in range(calls)]


def test_it_begins_with_nine_tenths_of_the_memory_or_with_so_many_runs() -> None:
    assert limit().size == 900_000
    assert limit(0.5).size == 500_000
    assert Limit(RUNS, 1.0).size == 32


def test_fifty_calls_are_read_together_and_only_then_it_moves() -> None:
    one = limit()
    assert read(one, 0.9) == [False] * 49 + [True]
    assert one.share == pytest.approx(0.95)
    assert one.seen == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("cached", "wanted", "share"),
    [
        (0.85, True, 0.95),
        (0.85, False, 0.9),  # nobody waits: more room would be nobody's
        (0.84, True, 0.9),
        (0.70, True, 0.9),
        (0.69, True, 0.72),  # nine tenths of what is in use
        (0.69, False, 0.72),
        (0.50, True, 0.72),
    ],
)
def test_what_caches_still_serve_says_whether_there_is_room(cached: float, wanted: bool, share: float) -> None:
    one = limit()
    read(one, cached, wanted=wanted)
    assert one.share == pytest.approx(share)


def test_a_reading_that_is_far_off_moves_it_in_leaps_so_that_a_memory_stated_wrongly_is_soon_made_up_for() -> None:
    one = limit()
    read(one, 0.91, calls=100)
    assert one.share == pytest.approx(0.9 * 1.15**2)
    read(one, 0.49)
    assert one.share == pytest.approx(0.7 * 0.8)


def test_it_falls_below_what_is_in_use_and_never_rises_by_a_low_reading() -> None:
    one = limit(0.5)
    read(one, 0.1, in_use=900_000)
    assert one.share == 0.5


def test_where_little_is_in_use_it_is_not_memory_that_is_short() -> None:
    one = limit()
    assert not any(read(one, 0.0, in_use=99_000))
    assert one.share == 0.9


def test_it_stays_within_its_bounds() -> None:
    high, low = limit(3.99), limit(0.11)
    read(high, 1.0)
    read(low, 0.0, in_use=100_000)
    assert (high.share, low.share) == (4.0, 0.1)


def test_runs_are_read_by_the_hundred() -> None:
    one = Limit(RUNS, 1.0)
    assert read(one, 0.9, calls=100, in_use=32).index(True) == 99
    assert one.size == 34
    read(one, 0.5, calls=100, in_use=30)
    assert one.size == 27


def test_calls_without_input_say_nothing_of_memory() -> None:
    one = limit()
    for _ in range(50):
        one.read(0, 0, in_use=50_000, wanted=True)
    assert one.share == 0.9


def test_its_repr_says_the_share() -> None:
    assert repr(limit()) == "Limit(0.90 of 1e+06)"
