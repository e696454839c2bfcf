"""Runs that a gate holds (`run_gate`): those that have yet to begin, and those that were parked between two steps.

Who was at work goes on before anybody begins, the farthest first; who begins goes by tier, and inside a tier the
agents take turns (`tiers`). How long one will stand here follows from how often one has gone of late.
"""

from __future__ import annotations

from bisect import insort
from typing import Final, Literal

from msgspec import Struct

from policies.tiers import Hold, Tiers

GAP_FOLLOW: Final = 0.2

State = Literal["gone", "waiting", "active", "parked"]


class Ask(Struct, frozen=True):
    """One call that wants to go on."""

    run: str  # its id; all calls of a key without a run are one more
    agent: str
    tier: int
    tokens: int  # of its prompt, as estimated
    steps: int = 0  # answers that the run has had, wherever
    above: tuple[str, ...] = ()  # the runs above it
    named: bool = True  # by its client
    free: bool = False  # it or a run above it was let in to another pool, and others may be waiting for that to end


class Run:
    """A run that the gate knows."""

    __slots__ = (
        *("agent", "answered", "calls", "charge", "hold", "id", "last_at", "named", "number"),
        *("state", "steps", "tier", "tokens", "waiting"),
    )

    def __init__(self, ask: Ask, number: int) -> None:
        self.id = ask.run
        self.agent = ask.agent
        self.tier = ask.tier
        self.named = ask.named
        self.tokens = ask.tokens  # of its last prompt
        self.steps = ask.steps
        self.number = number  # in order of arrival
        self.state: State = "gone"
        self.calls = 0  # that go on
        self.waiting = 0  # calls
        self.answered = 0  # tokens of the prompt that was answered last
        self.charge = 0.0
        self.last_at = 0.0
        self.hold: Hold[Run] | None = None  # what it counts by among the agents

    def __repr__(self) -> str:
        return f"Run({self.id!r}, {self.state}, {self.steps} steps, {self.charge:.0f})"

    @property
    def progress(self) -> tuple[int, int]:
        """Of two with as many answers, who came first has come farther."""
        return (self.steps, -self.number)


def _progress(run: Run) -> tuple[int, int]:
    return run.progress


class GateLine:
    """`add` and `remove` know by a run's state where it stands."""

    __slots__ = ("_gap_s", "_line", "_parked", "_runs", "_went_at")

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._line: Tiers[Run] = Tiers()
        self._parked: list[Run] = []  # the farthest last
        self._gap_s: float | None = None  # between two that go, while others stand here
        self._went_at: float | None = None  # the last one, if anybody has stood here since

    def __repr__(self) -> str:
        return f"GateLine({self._line}, {len(self._parked)} parked)"

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def parked(self) -> int:
        return len(self._parked)

    def find(self, id: str) -> Run | None:
        return self._runs.get(id)

    def add(self, run: Run) -> None:
        """`waiting` or `parked`."""
        self._runs[run.id] = run
        if run.state == "parked":
            insort(self._parked, run, key=_progress)
        else:
            self._line.add(run, run.agent, tier=run.tier)

    def first(self) -> Run:
        """Of a line that is not empty."""
        return self._parked[-1] if self._parked else self._line.first()

    def remove(self, run: Run) -> None:
        """It leaves."""
        del self._runs[run.id]
        if run.state == "parked":
            self._parked.remove(run)
        else:
            self._line.remove(run, run.agent, tier=run.tier)

    def take(self, run: Run, charge: float, now: float) -> None:
        """It goes on; mostly that is the first."""
        self._went(now)
        if run.state == "waiting" and self._line.first() is run:
            del self._runs[run.id]
            run.hold = self._line.take(charge)
        else:
            self.remove(run)
        self.pass_by(run, charge)

    def pass_by(self, run: Run, charge: float) -> None:
        """It counts among its agent's runs until `leave`, if it does not yet."""
        if run.hold is None:
            run.hold = self._line.pass_by(run.agent, charge, tier=run.tier)

    def leave(self, run: Run) -> None:
        if run.hold is not None:
            run.hold.end(run.hold.cost)
            run.hold = None

    def wait_s(self, run: Run, now: float) -> float:
        """What one that stands here will have to wait, if others go on as they did; 0: nobody knows."""
        if self._gap_s is None or self._went_at is None:
            return 0.0
        ahead = len(self._parked) - 1
        if run.state == "waiting":
            ahead += self._line.ahead(run.agent, tier=run.tier)
        return max(0, ahead) * max(self._gap_s, now - self._went_at)

    def _went(self, now: float) -> None:
        if self._went_at is not None:
            gap_s, known = now - self._went_at, self._gap_s
            self._gap_s = gap_s if known is None else known + (gap_s - known) * GAP_FOLLOW
        self._went_at = now if len(self._runs) > 1 else None
