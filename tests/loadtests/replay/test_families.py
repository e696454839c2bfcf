"""Runs that send out helpers wait for all of them; nobody's end makes another begin."""

from __future__ import annotations

from random import Random

import pytest

from loadtests.replay.baselines import LeastRequests
from loadtests.replay.families import HELPERS, Families, Family, families
from loadtests.replay.traces import AgentRun, Step
from loadtests.replay.world import Do, Request, World

STEP = Step(512, 50, (1,), 3.0)


def run(number: int, steps: int) -> AgentRun:
    return AgentRun(number, (STEP,) * steps)


class Doors:
    def __init__(self) -> None:
        self.told: list[tuple[str, int | None, int, int | None]] = []

    def enter(self, request: Request, now: float, go: Do, *, parent: int | None) -> None:
        self.told.append(("enter", request.run, request.step, parent))
        go(now)

    def ended(self, request: Request, now: float, cached_tokens: int) -> None:
        self.told.append(("ended", request.run, request.step, None))


def played(*runs: Family, within_s: float = 0.0) -> tuple[Families, Doors]:
    doors = Doors()
    world = World((1.0, 1.0), 100, [LeastRequests(2, 100, Random(1))])
    made = Families(world, runs, within_s=within_s, doors=doors)
    made.play(1)
    return made, doors


def test_a_step_waits_for_the_helpers_that_were_sent_out_before_it() -> None:
    made, doors = played(Family(run(0, 2), {1: [run(7, 1), run(8, 3)]}))
    (lived,) = made.lived
    entered = [(number, step, parent) for what, number, step, parent in doors.told if what == "enter"]
    assert entered[0] == (0, 0, None)
    assert entered[-1] == (0, 1, None)
    assert set(entered[1:-1]) == {(7, 0, 0), (8, 0, 0), (8, 1, 0), (8, 2, 0)}
    assert doors.told.index(("ended", 8, 2, None)) < doors.told.index(("enter", 0, 1, None))
    assert lived.run == 0
    assert lived.lasted_s > 3 * STEP.think_s


def test_runs_come_when_they_come() -> None:
    made, _ = played(*[Family(run(number, 2), {}) for number in range(50)], within_s=1_000.0)
    began = [lived.began_at for lived in made.lived]
    assert len(began) == 50
    assert max(began) - min(began) > 800
    assert max(began) <= 1_000


@pytest.mark.parametrize(("fan_outs", "short"), [(0.0, 0.0), (1.0, 0.0), (0.5, 0.5)])
def test_parts_of_them_send_out_helpers_or_are_short(fan_outs: float, short: float) -> None:
    runs = [run(number, 30) for number in range(400)]
    made = families(runs, 1, fan_outs=fan_outs, short=short)
    assert sum(len(each.run.steps) < 30 for each in made) / 400 == pytest.approx(short, abs=0.08)
    assert sum(bool(each.helpers) for each in made) / 400 == pytest.approx(fan_outs * (1 - short), abs=0.08)
    helpers = [helper for each in made for sent in each.helpers.values() for helper in sent]
    assert len({helper.number for helper in helpers} | set(range(400))) == 400 + len(helpers)
    assert all(
        min(HELPERS) <= sum(map(len, each.helpers.values())) <= 2 * max(HELPERS) for each in made if each.helpers
    )
    assert families(runs, 1, fan_outs=fan_outs, short=short) == made
