"""The run admission gate before replicas that are offered more runs than their memory holds, beside fixed limits.

All stand before the same router, the gate's own with prefix affinity. A fixed limit is told when a run is over; the
gate is not, and finds out by its being idle. Where the stated memory is wrong, the router is told it right, then wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from loadtests.replay.agents import Agents, Gate, Open
from loadtests.replay.traces import AgentRun, agents
from loadtests.replay.world import BLOCK_TOKENS, Do, Request, World, mean
from policies.gate_line import Ask, Run
from policies.run_gate import GateRules, RunGate
from policies.tiers import TIERS
from tests.caches.affinity import AGENT_BLOCKS, EQUAL, gated
from tests.caches.row import Row, at_most, shown

KV_TOKENS = len(EQUAL) * AGENT_BLOCKS * BLOCK_TOKENS
OVERLOAD, CROWD, CALM = 256, 128, 48  # runs offered
WITHIN_S = 90.0
SEEDS = (1, 2)
COUNTS = (56, 64, 72, 80, 96)
WRONG = 3.0

Make = Callable[[World], Gate]


class RealGate:
    """The gate's own policy. It is told of no run's end: it finds out for itself."""

    def __init__(self, world: World, kv_tokens: int | None) -> None:
        self.policy = RunGate(GateRules(), kv_tokens)
        self._world = world
        self._runs: dict[int, Run] = {}  # by the number of a request that went on
        self._waiting: dict[str, list[tuple[Request, Do]]] = {}
        self._timed = False

    def enter(self, request: Request, now: float, go: Do) -> None:
        ask = Ask(str(request.run), "agent", TIERS["standard"], request.tokens, steps=request.step)
        run = self.policy.enter(ask, now)
        assert run is not None
        if run.state == "active":
            self._runs[request.number] = run
            go(now)
        else:
            self._waiting.setdefault(run.id, []).append((request, go))
        self._admit(now)

    def ended(self, request: Request, now: float, cached_tokens: int) -> None:
        run = self._runs.pop(request.number)
        self.policy.ended(run, now, input_tokens=request.tokens, cached_tokens=cached_tokens)
        self._admit(now)

    def left(self, run: int, now: float) -> None:
        """Nobody tells it."""

    def _admit(self, now: float) -> None:
        for run in self.policy.admit(now):
            for request, go in self._waiting.pop(run.id):
                self._runs[request.number] = run
                go(now)
        due_at = self.policy.due_at()
        if self._waiting and due_at is not None and not self._timed:
            self._timed = True
            self._world.later(max(due_at, now), self._look)

    def _look(self, now: float) -> None:
        self._timed = False
        self._admit(now)


class FixedCount:
    """So many runs at a time, in order of arrival; it is told when one is over."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._in: set[int | None] = set()
        self._line: list[tuple[int | None, Do]] = []

    def enter(self, request: Request, now: float, go: Do) -> None:
        if request.run in self._in or len(self._in) < self._count:
            self._in.add(request.run)
            go(now)
        else:
            self._line.append((request.run, go))

    def ended(self, request: Request, now: float, cached_tokens: int) -> None:
        """Only runs count."""

    def left(self, run: int, now: float) -> None:
        self._in.discard(run)
        if self._line:
            next_run, go = self._line.pop(0)
            self._in.add(next_run)
            go(now)


class Played(Struct):
    """The mean time of a run, waiting included, and the share of input that came out of caches."""

    run_s: float
    cached: float


def play(runs: list[AgentRun], seed: int, make: Make, *, stated: float = 1.0) -> Played:
    world = World(EQUAL, AGENT_BLOCKS, [gated(stated)(AGENT_BLOCKS, seed)], seed=seed)
    world_gate = make(world)
    offered = Agents(world, runs, active=len(runs), within_s=WITHIN_S, gate=world_gate)
    done = offered.play(seed)
    assert len(offered.lived) == len(runs), "somebody was left standing"
    cached = sum(each.cached_tokens for each in done) / sum(each.request.tokens for each in done)
    return Played(mean([each.lasted_s for each in offered.lived]), cached)


class Bench:
    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def over_seeds(self, count: int, make: Make, stated: float = 1.0) -> Played:
        played = [play(agents(self._folder, seed, count), seed, make, stated=stated) for seed in SEEDS]
        return Played(mean([each.run_s for each in played]), mean([each.cached for each in played]))

    def ungated(self, count: int) -> Played:
        return self.over_seeds(count, lambda world: Open())

    def fixed(self, count: int) -> Played:
        return self.over_seeds(OVERLOAD, lambda world: FixedCount(count))

    def gate(self, count: int, stated: float = 1.0) -> Played:
        return self.over_seeds(count, lambda world: RealGate(world, int(stated * KV_TOKENS)), stated)

    def misled(self, stated: float) -> Played:
        """The gate alone is told wrongly."""
        return self.over_seeds(OVERLOAD, lambda world: RealGate(world, int(stated * KV_TOKENS)))

    def unstated(self) -> Played:
        return self.over_seeds(OVERLOAD, lambda world: RealGate(world, None))


def _told(what: str, played: Played) -> Row:
    return shown(f"{what}: mean run", f"{played.run_s:.0f} s, {played.cached:.0%} hit")


def rows(folder: Path | None) -> Iterator[Row]:
    bench, many = Bench(folder), f"{OVERLOAD} runs in {WITHIN_S:.0f} s"
    yield _told(f"{many}, ungated", ungated := bench.ungated(OVERLOAD))
    best: Played | None = None
    for count in COUNTS:
        yield _told(f"{many}, at most {count} at a time", fixed := bench.fixed(count))
        best = fixed if best is None or fixed.run_s < best.run_s else best
    assert best is not None
    yield _told(f"{many}, the gate", gate := bench.gate(OVERLOAD))
    yield at_most("the gate / ungated", gate.run_s / ungated.run_s, 0.35)
    yield at_most("the gate / the best fixed limit", gate.run_s / best.run_s, 1.05)
    for times in (1 / WRONG, WRONG):
        yield _told(f"memory stated as {times:.2f} of what it is", wrong := bench.misled(times))
        yield at_most("the same / ungated", wrong.run_s / ungated.run_s, 0.4)
        yield _told("the router told the same", bench.gate(OVERLOAD, times))
    yield _told("memory not stated: runs are counted", bench.unstated())
    yield _told(f"{CROWD} runs, ungated", bench.ungated(CROWD))
    yield _told(f"{CROWD} runs, the gate", bench.gate(CROWD))
    calm = bench.gate(CALM).run_s / bench.ungated(CALM).run_s
    yield at_most(f"{CALM} runs, not too many: the gate / ungated", calm, 1.01)
