"""Agents in a closed loop: each waits for its answer, thinks, and asks again with all that was said before.

A gate may stand before them (`Gate`): it lets each step go when it will, and is told of its end. A run that ends makes
room for the next one, so that as many are active as were offered at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from loadtests.replay.traces import AgentRun
from loadtests.replay.world import Do, Done, Request, World


class Gate(Protocol):
    """Decides when a run may go on."""

    def enter(self, request: Request, now: float, go: Do) -> None:
        """Calls `go` with the instant, at once or later."""

    def ended(self, request: Request, now: float, cached_tokens: int) -> None:
        """The answer to one of its steps is complete."""

    def left(self, run: int, now: float) -> None:
        """The run is over."""


class Open:
    """No gate."""

    def enter(self, request: Request, now: float, go: Do) -> None:
        go(now)

    def ended(self, request: Request, now: float, cached_tokens: int) -> None:
        pass

    def left(self, run: int, now: float) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Lived:
    """A run from its first request on, waiting at the gate included."""

    run: int
    began_at: float
    ended_at: float

    @property
    def lasted_s(self) -> float:
        return self.ended_at - self.began_at


class Agents:
    """`active` runs at a time, the first of them started within `within_s`."""

    def __init__(
        self, world: World, runs: Sequence[AgentRun], *, active: int, within_s: float, gate: Gate | None = None
    ) -> None:
        self.lived: list[Lived] = []
        self._world = world
        self._gate = gate or Open()
        self._waiting = list(reversed(runs))
        self._numbered = 0
        self._active, self._within_s = active, within_s

    def play(self, seed: int) -> list[Done]:
        """All runs to their end. Afterwards `lived` holds how long each took."""
        rng = Random(seed)
        for at in sorted(rng.random() * self._within_s for _ in range(min(self._active, len(self._waiting)))):
            self._world.later(at, self._begin)
        return self._world.play()

    def _begin(self, now: float) -> None:
        if self._waiting:
            self._step(self._waiting.pop(), 0, began_at=now)(now)

    def _step(self, run: AgentRun, index: int, *, began_at: float) -> Do:
        step = run.steps[index]

        def ended(done: Done) -> None:
            now = done.ended_at
            self._gate.ended(done.request, now, done.cached_tokens)
            if index + 1 < len(run.steps):
                self._world.later(now + run.steps[index + 1].think_s, self._step(run, index + 1, began_at=began_at))
                return
            self.lived.append(Lived(run.number, began_at, now))
            self._gate.left(run.number, now)
            self._begin(now)

        def ask(now: float) -> None:
            self._numbered += 1
            request = Request(self._numbered, step.tokens, step.output, step.blocks, run.number, index)
            self._gate.enter(request, now, lambda at: self._world.send(request, at, ended))

        return ask
