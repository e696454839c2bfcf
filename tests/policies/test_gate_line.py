"""Runs that are held: in which order they go on, and how long they will stand there."""

from __future__ import annotations

import pytest

from policies.gate_line import Ask, GateLine, Run, State

STANDARD, BATCH = 2, 3


def run(
    id: str, number: int, *, state: State = "waiting", steps: int = 0, agent: str = "a", tier: int = STANDARD
) -> Run:
    made = Run(Ask(id, agent, tier, 1_000, steps=steps), number)
    made.state = state
    return made


def gone(line: GateLine, at: tuple[float, ...] = ()) -> str:
    """Ids in the order in which they go."""
    ids, times = [], iter(at)
    while len(line):
        first = line.first()
        line.take(first, 60_000.0, next(times, 0.0))
        ids.append(first.id)
    return " ".join(ids)


def test_they_go_in_order_of_arrival_those_of_a_higher_tier_first() -> None:
    line = GateLine()
    for number, id in enumerate(("b1", "b2"), 1):
        line.add(run(id, number, tier=BATCH))
    for number, id in enumerate(("s1", "s2"), 3):
        line.add(run(id, number))
    assert gone(line) == "s1 s2 b1 b2"


def test_agents_take_turns() -> None:
    line = GateLine()
    for number in range(3):
        line.add(run(f"flood{number}", number, agent="flood"))
    line.add(run("calm", 9, agent="calm"))
    assert gone(line) == "flood0 calm flood1 flood2"


def test_who_was_at_work_goes_before_anybody_new_the_farthest_first() -> None:
    line = GateLine()
    line.add(run("new", 1))
    for number, (id, steps) in enumerate((("near", 2), ("far", 9), ("late", 2)), 2):
        line.add(run(id, number, state="parked", steps=steps))
    assert line.parked == 3
    assert gone(line) == "far near late new"


def test_who_leaves_is_known_no_more() -> None:
    line, waits, parked = GateLine(), run("w", 1), run("p", 2, state="parked", steps=1)
    line.add(waits)
    line.add(parked)
    assert (line.find("w"), line.find("p"), line.find("x")) == (waits, parked, None)
    line.remove(waits)
    line.remove(parked)
    assert (len(line), line.parked, line.find("w")) == (0, 0, None)


def test_one_that_passes_the_others_by_counts_all_the_same_until_it_leaves() -> None:
    line, first, second = GateLine(), run("one", 1), run("two", 2)
    line.add(first)
    line.add(second)
    line.take(second, 60_000.0, 0.0)
    assert line.first() is first
    assert second.hold is not None
    line.leave(second)
    line.leave(second)
    assert second.hold is None


def test_a_parked_run_keeps_what_it_has_counted_by() -> None:
    line, one = GateLine(), run("one", 1, state="active")
    line.pass_by(one, 60_000.0)
    held = one.hold
    one.state, one.steps = "parked", 3
    line.add(one)
    line.take(one, 90_000.0, 0.0)
    assert one.hold is held


def test_the_wait_follows_from_how_often_one_has_gone() -> None:
    line = GateLine()
    runs = [run(str(number), number) for number in range(6)]
    for each in runs:
        line.add(each)
    assert line.wait_s(runs[5], 0.0) == 0.0, "nobody knows yet"
    line.take(runs[0], 1.0, 0.0)
    line.take(runs[1], 1.0, 10.0)
    assert line.wait_s(runs[5], 10.0) == pytest.approx(3 * 10.0)
    assert line.wait_s(runs[5], 50.0) == pytest.approx(3 * 40.0), "none has gone for longer than usual"


def test_its_repr_counts() -> None:
    line = GateLine()
    line.add(run("p", 1, state="parked", steps=1))
    assert "1 parked" in repr(line)
    assert repr(run("p", 1)) == "Run('p', waiting, 0 steps, 0)"
