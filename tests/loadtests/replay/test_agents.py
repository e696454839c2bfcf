"""Agents wait for their answers; a gate may hold each step back; a run that ends makes room for the next."""

from __future__ import annotations

from random import Random

import pytest

from loadtests.replay.agents import Agents, Open
from loadtests.replay.baselines import LeastRequests
from loadtests.replay.traces import AgentRun, Step
from loadtests.replay.world import Do, Request, World

RUNS = [AgentRun(number, (Step(512, 50, (number,), 3.0), Step(512, 50, (number,), 2.0))) for number in range(5)]


class Late(Open):
    """Lets every step go a second later."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.told: list[str] = []

    def enter(self, request: Request, now: float, go: Do) -> None:
        self.told.append(f"enter {request.run}/{request.step}")
        self.world.later(now + 1.0, go)

    def ended(self, request: Request, now: float, cached_tokens: int) -> None:
        self.told.append(f"ended {request.run}/{request.step}")

    def left(self, run: int, now: float) -> None:
        self.told.append(f"left {run}")


def world() -> World:
    return World((1.0, 1.0), 100, [LeastRequests(2, 100, Random(1))])


def test_all_runs_are_played_and_no_more_at_a_time_than_are_active() -> None:
    made = world()
    agents = Agents(made, RUNS, active=2, within_s=1.0)
    done = agents.play(seed=1)
    assert sorted((each.request.run or 0, each.request.step) for each in done) == [
        (n, s) for n in range(5) for s in (0, 1)
    ]
    assert len(agents.lived) == 5
    for each in agents.lived:
        assert sum(other.began_at <= each.began_at < other.ended_at for other in agents.lived) <= 2


def test_the_next_step_comes_when_the_answer_was_thought_over() -> None:
    first, second = Agents(world(), RUNS[:1], active=1, within_s=0.0).play(seed=1)
    assert second.asked_at - first.ended_at == pytest.approx(2.0)


def test_a_gate_is_asked_before_every_step_and_told_of_every_end() -> None:
    made = world()
    gate = Late(made)
    agents = Agents(made, RUNS[:1], active=1, within_s=0.0, gate=gate)
    done = agents.play(seed=1)
    assert gate.told == ["enter 0/0", "ended 0/0", "enter 0/1", "ended 0/1", "left 0"]
    assert agents.lived[0].lasted_s == pytest.approx(sum(each.ended_at - each.asked_at for each in done) + 2.0 + 2.0)
