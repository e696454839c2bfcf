"""The runs of one process: which calls of which run are in flight here, and what an operator's word does to them.

`Runs.apply` is the one entry point of a command, and a command is a value: with several processes each of them is
handed the same one, and what they answer adds up. Money and the ledger are not touched here: a call that is interrupted
settles itself, by its provider's abort rule. Which limits a run has is the pipeline's to know, what they mean is
`policies.runs`'.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Literal

from msgspec import Struct

from policies.run_refusal import run_limit_exceeded, run_stopped
from policies.runs import Bounds, Mark, Run, RunLimits, Stop, Tree
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.execution.running import Running
from proxy.tenancy import run_id, tenant
from proxy.types import Identity, Unit

BUSY_SHOWN_MAX = 500
SETTLED_S = 1.0  # so long a command waits for the calls that it has interrupted
STATES: dict[str, Mark | None] = {"kill": "killed", "pause": "paused", "resume": None}  # what each command leads to

Linked = Callable[[str, str], None]  # (run, its parent)
Over = Callable[[frozenset[str]], None]  # a run that was killed, and all below it
Kind = Literal["kill", "pause", "resume", "topup"]
State = Literal["idle", "running", "paused", "killed"]


class RunCommand(Struct, frozen=True, omit_defaults=True):
    """An operator's word on one run, or on one account (`topup`)."""

    kind: Kind
    run: str  # its id; of a top-up: the account
    id: str  # whoever repeats it, repeats the command
    by: str
    at_wall: float
    cancel: bool = False  # pause: calls in flight are ended, and not only new ones refused
    unit: Unit = "usd"  # from here on: top-ups
    amount: int = 0


class Applied(Struct, frozen=True):
    """What a command has done in one process; `plus` adds up those of several."""

    interrupted: int = 0  # calls that were ended by it
    draining: int = 0  # those of them whose bill is not known yet
    cost_usd_nanos: int = 0  # of the others, all their attempts
    running: int = 0  # calls in flight that it has left alone

    def plus(self, other: Applied) -> Applied:
        return Applied(
            self.interrupted + other.interrupted,
            self.draining + other.draining,
            self.cost_usd_nanos + other.cost_usd_nanos,
            self.running + other.running,
        )


class Seen(Struct, frozen=True):
    """A run as the ledger remembers it, in seconds since 1970."""

    run: str
    parent: str | None
    first_wall: float
    last_wall: float


class RunState(Struct, frozen=True):
    """One run as it is now; runs are named by their ids."""

    run: str
    state: State
    stopped_by: str | None = None  # the run that was paused or killed, if it is one above this
    parent: str | None = None
    agents: tuple[str, ...] = ()  # of its calls in flight
    in_flight: int = 0  # its own calls
    children: tuple[str, ...] = ()
    loops: int = 0  # calls with which it went round in circles


def _nobody(run: str, parent: str) -> None:
    """Where there is no other process that would have to know."""


def _nothing(runs: frozenset[str]) -> None:
    """Where nothing is kept for runs but what their calls hold."""


class Runs:
    def __init__(
        self, clock: Clock, bounds: Bounds | None = None, *, linked: Linked = _nobody, over: Over = _nothing
    ) -> None:
        """`linked` is told of each run that has named its parent, once: other processes `learn` it. `over`: of those
        that will make no more calls, anywhere."""
        self._clock = clock
        self._linked = linked
        self._over = over
        self._tree = Tree(bounds)
        self._calls: dict[str, set[Running]] = {}  # in flight, by the id of their run

    def __repr__(self) -> str:
        return f"Runs({self._tree!r}, {self.in_flight} calls)"

    @property
    def in_flight(self) -> int:
        return sum(map(len, self._calls.values()))

    @property
    def active(self) -> int:
        """Runs that have calls in flight."""
        return len(self._calls)

    @property
    def marks(self) -> tuple[tuple[str, Mark], ...]:
        """Every run that is paused or killed."""
        return self._tree.marks

    @property
    def seen(self) -> tuple[Seen, ...]:
        """Every run that is remembered, as `restore` takes it."""
        ahead = self._clock.wall() - self._clock.now()
        return tuple(
            Seen(run.id, run.parent.id if run.parent is not None else None, run.first_at + ahead, run.last_at + ahead)
            for run in self._tree
        )

    # --- the way of a call -------------------------------------------------------------------------------------------

    def of(self, identity: Identity) -> Run | None:
        """A call that names a parent and no run of its own is the parent's."""
        name, parent = identity.run or identity.parent_run, identity.parent_run
        if name is None:
            return None
        owner, now = tenant(identity), self._clock.now()
        id = run_id(owner, name)
        if parent is None:
            return self._tree.place(id, None, now)
        parent = run_id(owner, parent)
        known = self._tree.find(id)
        before = None if known is None else known.parent
        run = self._tree.place(id, parent, now)
        if before is None and run.parent is not None and self._tree.find(id) is run:
            self._linked(id, run.parent.id)
        return run

    def learn(self, run: str, parent: str) -> None:
        """What another process was told by a call."""
        self._tree.place(run, parent, self._clock.now())

    def admit(self, running: Running, limits: RunLimits) -> ProxyError | None:
        """Counts the call in until `leave`, or says why it may not go on. `limits`: of the agent that calls."""
        run = running.run
        assert run is not None  # asked for calls of runs only
        run.limits = limits
        stop = run.stop()
        if stop is not None:
            return run_stopped(stop)
        excess = run.excess(self._clock.now(), running.record.call.identity.depth)
        if excess is not None:
            return run_limit_exceeded(excess)
        run.begin()
        self._calls.setdefault(run.id, set()).add(running)
        return None

    def leave(self, running: Running) -> None:
        """The call has ended. One that was not admitted was never in."""
        run = running.run
        calls = self._calls.get(run.id) if run is not None else None
        if run is None or calls is None or running not in calls:
            return
        calls.discard(running)
        if not calls:
            del self._calls[run.id]
        if running.record.committed and running.record.error is None:
            run.steps += 1
        run.end()

    # --- an operator's word ------------------------------------------------------------------------------------------

    async def apply(self, command: RunCommand) -> Applied:
        """Returns when everything it has ended is settled, or after `SETTLED_S` with the number of those that are not.
        New calls are refused from its first moment on."""
        if command.kind == "topup":
            return Applied()
        self.mark(command)
        calls = self._below(command.run)
        if command.kind == "resume" or (command.kind == "pause" and not command.cancel):
            return Applied(running=len(calls))
        stop = self._stop(command.run)
        if stop is None:
            return Applied(running=len(calls))
        ended = [call for call in calls if call.interrupt(run_stopped(stop))]
        if calls:
            await asyncio.wait([call.settled() for call in calls], timeout=SETTLED_S)
        drain = [call for call in ended if call.record.open or not call.ending]
        costs = [attempt.cost_usd_nanos or 0 for call in ended if call not in drain for attempt in call.record.attempts]
        return Applied(len(ended), len(drain), sum(costs), running=0)

    def mark(self, command: RunCommand) -> None:
        """New calls are treated by it from here on; those in flight are not touched."""
        self._tree.mark(command.run, STATES[command.kind])

    def applied(self, command: RunCommand) -> None:
        """Every process has applied it."""
        if command.kind == "kill":
            run = self._tree.find(command.run)
            self._over(frozenset([command.run] if run is None else [each.id for each in run.tree()]))

    def restore(self, stops: Iterable[tuple[str, Mark]], seen: Iterable[Seen]) -> None:
        """What the ledger knows from before the start: marks, and who stands below whom since when."""
        for id, mark in stops:
            self._tree.mark(id, mark)
        ahead = self._clock.wall() - self._clock.now()
        for each in seen:  # the longest unused first
            run = self._tree.place(each.run, each.parent, each.last_wall - ahead)
            run.first_at = min(run.first_at, each.first_wall - ahead)

    # --- questions ---------------------------------------------------------------------------------------------------

    def steps(self, identity: Identity) -> int:
        """Answers that the run of a call has had in this process; 0: it is new, or there is none."""
        name = identity.run or identity.parent_run
        run = None if name is None else self._tree.find(run_id(tenant(identity), name))
        return 0 if run is None else run.steps

    def knows(self, id: str) -> bool:
        return self._tree.find(id) is not None or self._tree.mark_of(id) is not None

    def mark_of(self, id: str) -> Mark | None:
        return self._tree.mark_of(id)

    def state(self, id: str) -> RunState:
        """Of a run that was never seen: idle."""
        run, stop, calls = self._tree.find(id), self._stop(id), self._calls.get(id, ())
        return RunState(
            run=id,
            state=stop.mark if stop is not None else ("running" if run is not None and run.busy else "idle"),
            stopped_by=stop.run if stop is not None and stop.run != id else None,
            parent=run.parent.id if run is not None and run.parent is not None else None,
            agents=tuple(sorted({call.record.call.identity.agent for call in calls})),
            in_flight=len(calls),
            children=() if run is None else tuple(run.children),
            loops=0 if run is None else run.loops,
        )

    async def look(self, ids: Sequence[str], named: str = "") -> list[RunState]:
        """These runs as they are, every run of that name, whoever's, and every run that has calls in flight."""
        alike = self._tree.named(named) if named else ()
        asked = dict.fromkeys([*ids, *alike, *islice(self._calls, BUSY_SHOWN_MAX)])
        return [self.state(id) for id in asked]

    def _stop(self, id: str) -> Stop | None:
        run = self._tree.find(id)
        if run is not None:
            return run.stop()
        mark = self._tree.mark_of(id)
        return None if mark is None else Stop(id, mark)

    def _below(self, id: str) -> list[Running]:
        """The calls in flight of a run and of all below it."""
        run = self._tree.find(id)
        if run is None:
            return []
        return [call for each in run.tree() for call in self._calls.get(each.id, ())]
