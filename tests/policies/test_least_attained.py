"""Least attained service: who has had less goes first, in a class who came first; nobody is passed over for ever."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.least_attained import (
    AGES_AFTER,
    CLASS_UNITS,
    CLASSES,
    Attained,
    LeastAttained,
    Place,
    class_of,
    rise_s,
)


def waiting(*places: Place | None) -> LeastAttained[int]:
    """Calls are numbered by their coming."""
    made: LeastAttained[int] = LeastAttained()
    for number, each in enumerate(places):
        made.add(number, each)
    return made


def order(calls: LeastAttained[int], now: float = 0.0) -> list[int]:
    gone = list[int]()
    while len(calls):
        gone.append(calls.first(now))
        calls.remove(gone[-1])
    return gone


@pytest.mark.parametrize(
    ("units", "class_"),
    [
        (0.0, 0),
        (CLASS_UNITS - 1, 0),
        (CLASS_UNITS, 1),
        (3 * CLASS_UNITS - 1, 1),
        (3 * CLASS_UNITS, 2),
        (1e12, CLASSES - 1),
    ],
)
def test_each_class_is_twice_as_wide_as_the_one_before(units: float, class_: int) -> None:
    assert class_of(units) == class_


@pytest.mark.parametrize(
    ("service_s", "patience_s", "each_s"),
    [(2.0, inf, 2 * AGES_AFTER), (2.0, 6.0, 6.0 / CLASSES), (0.01, 80.0, 0.01 * AGES_AFTER)],
)
def test_who_gives_up_has_been_first_before(service_s: float, patience_s: float, each_s: float) -> None:
    assert rise_s(service_s, patience_s) == pytest.approx(each_s)
    assert rise_s(service_s, patience_s) * (CLASSES - 1) < patience_s


@pytest.mark.parametrize(
    ("places", "goes"),
    [
        ((None, None, None), [0, 1, 2]),
        ((Place(9e5), Place(1e5), Place(0.0)), [2, 1, 0]),
        ((Place(30.0), Place(20.0), Place(10.0)), [0, 1, 2]),
        ((Place(1e5), Place(1e5, critical=True)), [1, 0]),
        ((Place(0.0), Place(0.0, critical=True)), [0, 1]),
    ],
    ids=["arrival", "least first", "arrival in a class", "a hint", "nothing above the top"],
)
def test_whose_run_has_had_least_goes_first(places: Sequence[Place | None], goes: list[int]) -> None:
    assert order(waiting(*places)) == goes


def test_a_call_moves_up_a_class_each_time_it_has_waited_long() -> None:
    calls = waiting(old := Place(3 * CLASS_UNITS, rise_s=10.0), Place(CLASS_UNITS), Place(0.0))
    for now, class_, first in ((9.9, 2, 2), (10.0, 1, 2), (19.9, 1, 2), (20.0, 0, 0), (99.0, 0, 0)):
        assert (calls.first(now), old.class_) == (first, class_)
    assert old.from_ == 2


def test_time_that_nobody_looked_at_counts_as_well() -> None:
    assert waiting(Place(3 * CLASS_UNITS, rise_s=10.0), Place(0.0)).first(1_000.0) == 0


def test_siblings_stand_where_the_one_stands_that_has_had_least() -> None:
    far, near, other = Place(3 * CLASS_UNITS, parent="p"), Place(0.0, parent="p"), Place(CLASS_UNITS)
    calls = waiting(far, other)
    assert calls.first(0.0) == 1
    calls.add(2, near)
    assert order(calls) == [0, 2, 1], "who has had much is lifted by a sibling that comes"
    calls = waiting(near, other)
    calls.add(2, far)
    assert far.class_ == 0, "and stands there if it comes later"
    for number in (0, 1, 2):
        calls.remove(number)
    calls.add(3, late := Place(CLASS_UNITS, parent="p"))
    assert late.class_ == 1, "one that has gone lifts nobody"


def test_who_has_waited_long_takes_its_siblings_along() -> None:
    one, other = Place(CLASS_UNITS, rise_s=10.0, parent="p"), Place(CLASS_UNITS, 5.0, rise_s=10.0, parent="p")
    waiting(one, other).first(10.0)
    assert (one.class_, other.class_) == (0, 0)


def test_where_a_call_stands_is_how_many_would_go_before_it() -> None:
    places = [Place(CLASS_UNITS) for _ in range(3)]
    waiting(Place(0.0), places[0], Place(9e9), *places[1:])
    assert [each.ahead for each in places] == [1, 2, 3]
    assert "class 1" in repr(places[0])


def test_the_newest_is_the_one_that_came_last() -> None:
    calls = waiting(Place(0.0), Place(9e5), Place(10.0))
    assert calls.newest() == 2
    calls.remove(2)
    assert calls.newest() == 1
    assert repr(calls) == "LeastAttained([1, 0, 1])"


@given(
    seed=st.integers(0, 10_000),
    flood=st.integers(1, 20),
    units=st.sampled_from((CLASS_UNITS, 1e6, 1e9)),
)
def test_nothing_starves_however_many_newcomers_there_are(seed: int, flood: int, units: float) -> None:
    """One place a second, and each second as many new runs as you like: who has waited through all classes goes."""
    rng, calls = Random(seed), waiting(mine := Place(units, rise_s=5.0))
    for second in range(1, 5 * CLASSES + 2):
        for number in range(flood):
            calls.add(1 + second * 100 + number, Place(rng.random() * CLASS_UNITS, float(second)))
        first = calls.first(float(second))
        if first == 0:
            break
        calls.remove(first)
    assert first == 0
    assert second <= 5 * class_of(units), f"{mine}"


WAITS = st.tuples(st.floats(0, 3e5), st.sampled_from(("", "p", "q")), st.booleans())


@given(st.lists(WAITS, max_size=80))
def test_every_call_goes_once_and_none_before_one_that_has_had_less(
    calls: list[tuple[float, str, bool]],
) -> None:
    """Work conserving: while any waits there is a first one. Looked at by a plain search each time."""
    made: LeastAttained[int] = LeastAttained()
    places, gone, now = dict[int, Place](), list[int](), 0.0
    for number, (units, parent, takes) in enumerate(calls):
        now += 1.0
        places[number] = Place(units, now, rise_s=7.0, parent=parent)
        made.add(number, places[number])
        if takes:
            gone.append(_checked(made, places, now))
    while len(made):
        now += 1.0
        gone.append(_checked(made, places, now))
    assert sorted(gone) == list(range(len(calls)))
    assert not made._siblings
    assert not made._calls


def _checked(made: LeastAttained[int], places: dict[int, Place], now: float) -> int:
    first = made.first(now)
    least = min(places, key=lambda number: (places[number].class_, number))
    assert first == least
    for each in places.values():
        siblings = [other.class_ for other in places.values() if each.parent and other.parent == each.parent]
        assert len(set(siblings)) <= 1
    made.remove(first)
    del places[first]
    return first


def test_those_that_have_gone_leave_nothing_behind() -> None:
    calls: LeastAttained[int] = LeastAttained()
    calls.add(-1, Place(9e9, rise_s=1e6))
    for number in range(10_000):
        calls.add(number, Place(9e5, rise_s=1e6))
        calls.remove(number)
    assert len(calls._due) < 3 * CLASSES


# --- what runs have had ----------------------------------------------------------------------------------------------


def test_what_runs_had_adds_up_and_those_that_were_not_served_for_the_longest_are_forgotten() -> None:
    attained = Attained(runs_max=2)
    for run in ("a", "b", "a", "c"):
        attained.add(run, 10.0)
    assert [attained.of(run) for run in "abc"] == [20.0, 0.0, 10.0]
    assert (len(attained), repr(attained)) == (2, "Attained(2 runs)")
