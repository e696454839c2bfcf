"""Runs that begin others and wait for all of them: recorded sessions with scripted fan-outs, arriving by themselves.

Beside `agents`, where one run begins as another ends: here runs come when they come, so that what one has to wait for
shows in how long it lasts. Before some of its steps a run sends out helpers, short runs of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from loadtests.replay.agents import Lived
from loadtests.replay.traces import AgentRun
from loadtests.replay.world import Do, Done, Request, World

HELPERS = (2, 4, 8)
HELPER_STEPS = (5, 14)  # as the recorded sub-agents have, the fewest and the most of the middle half


@dataclass(frozen=True, slots=True)
class Family:
    """`helpers`: runs that are sent out before the step of that index."""

    run: AgentRun
    helpers: Mapping[int, Sequence[AgentRun]]


class Doors(Protocol):
    """Who decides when a request may go on. `parent`: the run that waits for its own."""

    def enter(self, request: Request, now: float, go: Do, *, parent: int | None) -> None: ...

    def ended(self, request: Request, now: float, cached_tokens: int) -> None: ...


def families(runs: Sequence[AgentRun], seed: int, *, fan_outs: float, short: float) -> list[Family]:
    """Of `runs` a part sends out helpers, once or twice, and a part is `short`: its first steps, one to six."""
    rng, found, number = Random(seed), list[Family](), len(runs)
    for run in runs:
        if rng.random() < short:
            found.append(Family(replace(run, steps=run.steps[: rng.randint(1, 6)]), {}))
            continue
        helpers: dict[int, list[AgentRun]] = {}
        for _ in range(rng.randint(1, 2) if rng.random() < fan_outs else 0):
            at = rng.randrange(len(run.steps))
            for _ in range(rng.choice(HELPERS)):
                steps = rng.choice(runs).steps[: rng.randint(*HELPER_STEPS)]
                helpers.setdefault(at, []).append(AgentRun(number, steps))
                number += 1
        found.append(Family(run, helpers))
    return found


class Families:
    """All of them begin within `within_s`, at random."""

    def __init__(self, world: World, runs: Sequence[Family], *, within_s: float, doors: Doors) -> None:
        self.lived: list[Lived] = []  # of those that nobody sent out
        self._world = world
        self._families = runs
        self._within_s = within_s
        self._doors = doors
        self._numbered = 0

    def play(self, seed: int) -> list[Done]:
        rng = Random(seed)
        for family in self._families:
            self._world.later(rng.random() * self._within_s, self._begin(family))
        return self._world.play()

    def _begin(self, family: Family) -> Do:
        def begin(now: float) -> None:
            def over(at: float) -> None:
                self.lived.append(Lived(family.run.number, now, at))

            self._step(family, 0, None, over)(now)

        return begin

    def _step(self, family: Family, index: int, parent: int | None, over: Do) -> Do:
        def step(now: float) -> None:
            helpers = family.helpers.get(index, ())
            left = len(helpers)

            def back(at: float) -> None:
                nonlocal left
                left -= 1
                if not left:
                    self._ask(family, index, parent, over)(at)

            if not helpers:
                self._ask(family, index, parent, over)(now)
            for helper in helpers:
                self._step(Family(helper, {}), 0, family.run.number, back)(now)

        return step

    def _ask(self, family: Family, index: int, parent: int | None, over: Do) -> Do:
        run, step = family.run, family.run.steps[index]

        def ended(done: Done) -> None:
            now = done.ended_at
            self._doors.ended(done.request, now, done.cached_tokens)
            if index + 1 == len(run.steps):
                over(now)
                return
            self._world.later(now + run.steps[index + 1].think_s, self._step(family, index + 1, parent, over))

        def ask(now: float) -> None:
            self._numbered += 1
            request = Request(self._numbered, step.tokens, step.output, step.blocks, run.number, index)
            self._doors.enter(request, now, lambda at: self._world.send(request, at, ended), parent=parent)

        return ask
