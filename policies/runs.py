"""The runs of agents as a tree, and the limits that hold for one: wall time, width, depth, paused, killed.

Nobody registers a run: its first call makes it, under the id that `tenancy` gives it. A client names only its parent,
of the same tenant; who stands above that is known from the parent's own calls. The first parent that a run names stays,
and a claim that would close a circle is not heard, so a run can neither leave the account of its parent nor pay for
itself. How a refusal is worded is `run_refusal`'s business, what happens to calls that are in flight is
`proxy.runs.registry`'. Runs that are idle are forgotten; marks are not.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain, islice
from math import inf
from typing import Final, Literal

from msgspec import Struct

from proxy.tenancy import run_name

LEVELS_MAX: Final = 5  # with team, key and agent above them, a path has eight accounts
EXAMINED_MAX: Final = 16  # runs looked at to make room for one
KEPT_LEAST: Final = 64  # so many that the parent of a run that is being made is never among those

LimitName = Literal["seconds", "width", "depth"]
Mark = Literal["paused", "killed"]
AtLimit = Literal["error", "best"]  # what a call gets that a hard limit refuses: why, or the last complete answer


class RunLimits(Struct, frozen=True):
    """What the runs of one agent may do; None: no such limit."""

    seconds: float | None = None  # from a run's first call
    width: int | None = None  # calls of a run at the same time, and children with calls at the same time
    depth: int | None = None  # levels of a tree of runs; one without a parent stands at level 1
    at_limit: AtLimit = "error"


class Bounds(Struct, frozen=True):
    """How many runs are remembered, and for how long without a call. No run with a call, or with one below, is lost."""

    runs_max: int = 50_000
    idle_s: float = 6 * 3_600.0
    marks_max: int = 100_000  # paused and killed ones: operators make these

    def __post_init__(self) -> None:
        if self.runs_max < KEPT_LEAST:
            raise ValueError(f"At least {KEPT_LEAST} runs must be kept.")


class Excess(Struct, frozen=True):
    """A limit that refuses a call: whose it is, and what the call would have brought it to."""

    run: str
    limit: LimitName
    allowed: float
    value: float


class Stop(Struct, frozen=True):
    """An operator's word that refuses a call, on the run itself or on one above it."""

    run: str
    mark: Mark


NO_LIMITS: Final = RunLimits()


class Run:
    """One run; `lineage` begins with the topmost and ends with itself."""

    __slots__ = (
        "accounts",
        "branches",
        "calls",
        "children",
        "first_at",
        "id",
        "last_at",
        "level",
        "limits",
        "lineage",
        "loops",
        "mark",
        "parent",
        "steps",
    )

    def __init__(self, id: str, above: tuple[Run, ...], now: float, mark: Mark | None) -> None:
        self.id = id
        self.mark = mark
        self.limits = NO_LIMITS  # of the agent whose call came last
        self.first_at = self.last_at = now
        self.calls = 0  # in flight, its own
        self.steps = 0  # of its own calls, those that were answered
        self.loops = 0  # calls with which it went round in circles
        self.branches = 0  # children that have calls in flight, or a child that has
        self.children: dict[str, Run] = {}
        self.stand_below(above)

    def __repr__(self) -> str:
        state = self.mark or ("running" if self.busy else "idle")
        return f"Run({'/'.join(run.id for run in self.lineage)}, {state}, {self.calls} calls, {self.branches} branches)"

    @property
    def busy(self) -> bool:
        return self.calls > 0 or self.branches > 0

    @property
    def ends_at(self) -> float:
        """When its time is over, and that of all below it; infinite where nothing limits it."""
        seconds = self.limits.seconds
        return inf if seconds is None else self.first_at + seconds

    def stand_below(self, above: tuple[Run, ...]) -> None:
        self.parent: Run | None = above[-1] if above else None
        self.lineage: tuple[Run, ...] = (*above, self)
        self.level = len(self.lineage)
        self.accounts: tuple[str, ...] = tuple([f"run:{run.id}" for run in self.lineage])
        for child in self.children.values():
            child.stand_below(self.lineage)

    def tree(self) -> Iterator[Run]:
        """Itself and all below it."""
        yield self
        for child in self.children.values():
            yield from child.tree()

    def height(self) -> int:
        return 1 + max((child.height() for child in self.children.values()), default=0)

    def stop(self) -> Stop | None:
        """What an operator said of it; nearer the top counts more, and killed more than paused."""
        found: Stop | None = None
        for run in self.lineage:
            if run.mark == "killed":
                return Stop(run.id, "killed")
            if run.mark is not None and found is None:
                found = Stop(run.id, run.mark)
        return found

    def excess(self, now: float, depth_stated: int = 0) -> Excess | None:
        """The first limit that one more call would break, its own or of a run above it. `depth_stated`: levels above
        it by the client's own word."""
        if self.level > LEVELS_MAX:
            return Excess(self.id, "depth", LEVELS_MAX, self.level)
        level = max(self.level, depth_stated + 1)
        for run in self.lineage:
            limits = run.limits
            if limits.depth is not None and level > limits.depth:
                return Excess(run.id, "depth", limits.depth, level)
            if limits.seconds is not None and now - run.first_at > limits.seconds:
                return Excess(run.id, "seconds", limits.seconds, now - run.first_at)
        return self._too_wide()

    def _too_wide(self) -> Excess | None:
        width = self.limits.width
        if width is not None and self.calls >= width:
            return Excess(self.id, "width", width, self.calls + 1)
        run = self
        while run.parent is not None and not run.busy:  # a busy one is among its parent's branches already
            above = run.parent
            if above.limits.width is not None and above.branches >= above.limits.width:
                return Excess(above.id, "width", above.limits.width, above.branches + 1)
            run = above
        return None

    def begin(self) -> None:
        """One more call in flight."""
        if not self.busy:
            self.count_into_parent()
        self.calls += 1

    def end(self) -> None:
        self.calls -= 1
        run = self
        while not run.busy and run.parent is not None:
            run = run.parent
            run.branches -= 1

    def count_into_parent(self) -> None:
        """It has become one of its parent's branches, which may be news to those above as well."""
        run, known = self.parent, False
        while run is not None and not known:
            known = run.busy
            run.branches += 1
            run = run.parent


class Tree:
    """Every run that is remembered, by its id. The longest unused stands first, and never before one below it."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._marks: OrderedDict[str, Mark] = OrderedDict()

    def __repr__(self) -> str:
        return f"Tree({len(self._runs)} runs, {len(self._marks)} marks)"

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def marks(self) -> tuple[tuple[str, Mark], ...]:
        return tuple(self._marks.items())

    def __iter__(self) -> Iterator[Run]:
        """The longest unused first, and none before one below it."""
        return iter(self._runs.values())

    def find(self, id: str) -> Run | None:
        return self._runs.get(id)

    def mark_of(self, id: str) -> Mark | None:
        return self._marks.get(id)

    def named(self, name: str) -> list[str]:
        """The ids of all runs of that name, those that are only marked among them. Looks at every run."""
        ids = chain(self._runs, self._marks)
        return list(dict.fromkeys([id for id in ids if id.endswith(name) and run_name(id) == name]))

    def place(self, id: str, parent: str | None, now: float) -> Run:
        """The run of a call. One that stands too deep is not kept: it is only good for being refused."""
        run = self._runs.get(id)
        if parent is not None and parent != id and (run is None or run.parent is None):
            run = self._placed_below(id, run, self.place(parent, None, now))
        elif run is None:
            run = self._keep(Run(id, (), now, self._marks.get(id)), now)
        for each in run.lineage[::-1]:
            each.last_at = now
            if each.id in self._runs:
                self._runs.move_to_end(each.id)
        return run

    def mark(self, id: str, mark: Mark | None) -> None:
        """Killed is final."""
        if self._marks.get(id) == "killed":
            return
        if mark is None:
            self._marks.pop(id, None)
        else:
            self._marks[id] = mark
            if len(self._marks) > self._bounds.marks_max:
                self._marks.popitem(last=False)
        run = self._runs.get(id)
        if run is not None:
            run.mark = mark

    def _placed_below(self, id: str, run: Run | None, above: Run) -> Run:
        height = 1 if run is None else run.height()
        if run is not None and run in above.lineage:
            return run  # its own descendant: the claim is not heard
        if above.level + height > LEVELS_MAX:
            refused = Run(id, above.lineage, above.last_at, self._marks.get(id))
            refused.level = above.level + height
            return refused
        if run is None:
            run = self._keep(Run(id, above.lineage, above.last_at, self._marks.get(id)), above.last_at)
        else:
            run.stand_below(above.lineage)
        above.children[id] = run
        if run.busy:  # with calls that it began before it named its parent
            run.count_into_parent()
        return run

    def _keep(self, run: Run, now: float) -> Run:
        self._make_room(now)
        self._runs[run.id] = run
        return run

    def _make_room(self, now: float) -> None:
        """Forgets what has been idle for long, and if there are too many, the longest unused that has no call."""
        full = len(self._runs) >= self._bounds.runs_max
        for run in list(islice(self._runs.values(), EXAMINED_MAX)):
            if not full and now - run.last_at < self._bounds.idle_s:
                return
            if not run.busy and not run.children:
                self._forget(run)
                full = len(self._runs) >= self._bounds.runs_max

    def _forget(self, run: Run) -> None:
        del self._runs[run.id]
        if run.parent is not None:
            run.parent.children.pop(run.id, None)
