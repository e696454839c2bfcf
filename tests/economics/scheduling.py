"""How long runs last where their calls wait for one target: in the order of arrival, and by what their runs have had.

The replay's engines with a limit on calls at the same time, before which the real line of a target stands; all runs
are one agent's, as agents share by other rules. Recorded sessions (made-up ones of that shape where there are none)
begin at random instants, so near to what the engines can do that calls wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Final

from msgspec import Struct, structs

from loadtests.replay.families import Families, Family, families
from loadtests.replay.traces import AgentRun, Step, agents
from loadtests.replay.world import Do, Request, World, mean, quantile
from policies.tiers import Hold
from proxy.execution.line import Claim, Lines, Ticket
from proxy.types import Identity, Usage
from tests import build
from tests.economics.row import Row, at_most, shown

ENGINES: Final = 8
BLOCKS: Final = 6_000  # that each engine remembers
PLACES: Final = 8  # calls at the same time
RUNS: Final = 300
SEEDS: Final = (1, 2)
P99_AT_MOST: Final = 1.1  # of that by arrival
SHORT_STEPS: Final = 6
TARGET: Final = build.target()


class Traffic(Struct, frozen=True):
    """`fan_outs` and `short`: parts of the runs. `median`: what is aimed at, in parts of that by arrival."""

    name: str
    fan_outs: float
    short: float
    within_s: float  # all begin
    median: float | None = 0.7
    recorded: bool = True


TRAFFIC: Final = (
    Traffic("scripted runs of 60 steps, three of five with one to six", 0.0, 0.6, 2_000.0, recorded=False),
    Traffic("recorded sessions with fan-outs, three of five cut to one to six steps", 0.3, 0.6, 8_000.0),
    Traffic("recorded sessions with fan-outs", 0.3, 0.0, 20_000.0),
)


class Homes:
    """Each run stays at the engine that had the fewest calls when it came."""

    def __init__(self, engines: int) -> None:
        self._open = [0] * engines
        self._home: dict[int | None, int] = {}
        self._at: dict[int, int] = {}

    def choose(self, request: Request, now: float) -> int:
        home = self._home.get(request.run)
        if home is None:
            home = self._home[request.run] = min(range(len(self._open)), key=self._open.__getitem__)
        return home

    def started(self, request: Request, replica: int, now: float) -> None:
        self._open[replica] += 1
        self._at[request.number] = replica

    def first_event(self, request: Request, now: float) -> None:
        pass

    def ended(self, request: Request, now: float, cached_tokens: int) -> None:
        self._open[self._at.pop(request.number)] -= 1


class Doors:
    """The line of a target, as `proxy.execution.permits` uses it. `by_arrival`: no call has a place in it."""

    def __init__(self, *, by_arrival: bool) -> None:
        self.waited: list[float] = []
        self._by_arrival = by_arrival
        self._lines: Lines[Ticket] = Lines()
        self._line = self._lines.of(TARGET)
        self._free = PLACES
        self._waiting: dict[Ticket, tuple[Request, float, Do]] = {}
        self._running: dict[int, tuple[Hold[Ticket], Ticket, float]] = {}

    def enter(self, request: Request, now: float, go: Do, *, parent: int | None) -> None:
        above = None if parent is None else str(parent)
        who = Identity(key_id="k", agent="a", run=str(request.run), parent_run=above)
        call = structs.replace(build.call(identity=who), arrived_at=now, input_tokens_estimate=request.tokens)
        ticket = Ticket(Claim(call, request.tokens + request.output))
        if not self._by_arrival:
            ticket.place = self._lines.place(call, now, self._line.rise_s(inf))
        self._waiting[ticket] = (request, now, go)
        self._line.add(ticket)
        self._fill(now)

    def ended(self, request: Request, now: float, cached_tokens: int) -> None:
        hold, ticket, went_at = self._running.pop(request.number)
        usage = Usage(input_uncached=request.tokens - cached_tokens, input_cached=cached_tokens, output=request.output)
        self._lines.served(ticket.claim.call, self._line.ended(hold, usage, now - went_at))
        self._free += 1
        self._fill(now)

    def _fill(self, now: float) -> None:
        while self._free and len(self._line):
            ticket = self._line.first(now)
            hold = self._line.take(now)
            request, came_at, go = self._waiting.pop(ticket)
            self._running[request.number] = (hold, ticket, now)
            self._free -= 1
            self.waited.append(now - came_at)
            go(now)


class Lasted(Struct, frozen=True):
    """Of runs, in seconds."""

    runs: int
    median_s: float
    mean_s: float
    p99_s: float
    short_s: float  # the median of those of at most six calls; 0: there are none
    waited_s: float  # a call, on average


def play(runs: list[Family], seed: int, within_s: float, *, by_arrival: bool) -> Lasted:
    world, doors = World([1.0] * ENGINES, BLOCKS, [Homes(ENGINES)], seed=seed), Doors(by_arrival=by_arrival)
    played = Families(world, runs, within_s=within_s, doors=doors)
    played.play(seed)
    lasted = [run.lasted_s for run in played.lived]
    few = {family.run.number for family in runs if len(family.run.steps) <= SHORT_STEPS}
    short = [run.lasted_s for run in played.lived if run.run in few]
    return Lasted(
        len(lasted),
        quantile(lasted, 0.5),
        mean(lasted),
        quantile(lasted, 0.99),
        quantile(short, 0.5) if short else 0.0,
        mean(doors.waited),
    )


def rows(folder: Path | None) -> Iterator[Row]:
    for traffic in TRAFFIC:
        both = [_both(folder, traffic, seed) for seed in SEEDS]
        waits = " | ".join([f"{mean([pair[at].waited_s for pair in both]):.1f} s" for at in (0, 1)])
        yield shown(f"{traffic.name}: a call waits, by arrival | least attained first", waits)
        yield _ratio("  median of runs", [(first.median_s, least.median_s) for first, least in both], traffic.median)
        yield _ratio("  p99", [(first.p99_s, least.p99_s) for first, least in both], P99_AT_MOST)
        yield _ratio("  mean", [(first.mean_s, least.mean_s) for first, least in both], None)
        if traffic.short:
            yield _ratio("  median of the short ones", [(first.short_s, least.short_s) for first, least in both], None)


def _ratio(figure: str, pairs: list[tuple[float, float]], most: float | None) -> Row:
    """Least attained first in parts of the order of arrival, on average over the seeds."""
    ratio = mean([least / first for first, least in pairs])
    return shown(f"{figure}, of that by arrival", f"{ratio:.2f}") if most is None else at_most(figure, ratio, most)


def _both(folder: Path | None, traffic: Traffic, seed: int) -> tuple[Lasted, Lasted]:
    recorded = agents(folder, seed, RUNS) if traffic.recorded else even(RUNS // 3)
    runs = families(recorded, seed, fan_outs=traffic.fan_outs, short=traffic.short)
    first, least = [play(runs, seed, traffic.within_s, by_arrival=each) for each in (True, False)]
    return first, least


def even(count: int) -> list[AgentRun]:
    """Runs of sixty steps that differ in nothing."""
    return [AgentRun(number, (Step(40_960, 200, (1, 2, 3), 1.0),) * 60) for number in range(count)]
