"""Prefix affinity in front of replicas, beside the routers that others build.

The gate's own policies route (`Gated`); the world, its arrivals and the others are `loadtests.replay`'s.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import inf
from pathlib import Path
from random import Random
from time import process_time_ns
from typing import Literal, NamedTuple, get_args

from msgspec.structs import replace

from loadtests.replay.agents import Agents
from loadtests.replay.baselines import BASELINES, LeastRequests
from loadtests.replay.traces import AgentRun, agents, conversation
from loadtests.replay.world import BLOCK_TOKENS, Done, Policy, Request, World, mean, quantile
from policies.affinity import Affinity, Promise, stable
from policies.balance import Router
from policies.homes import Homes
from policies.load import Loads
from policies.prefix import BLOCK_BYTES, Prefix
from policies.speed import Ticket
from policies.warmth import Warmth
from proxy.dialects.openai_request import read
from proxy.types import Call, Head, Identity, Target, Traits
from tests.build import call
from tests.build import target as target_of
from tests.caches.row import Row, at_most, shown

EQUAL, HALF = (1.0,) * 8, (1.0,) * 4 + (0.5,) * 4
CONVERSATION_BLOCKS, AGENT_BLOCKS = 2_000, 1_500  # of each replica
RUNS, ACTIVE, WITHIN_S = 300, 64, 60.0
SEEDS = 3
PIECE_BYTES = 64 * 1024
OURS = "headgate"
STREAM = call(head=Head(model="m", stream=True))


class Known:
    """Prompts whose blocks the world has numbered."""

    def __init__(self) -> None:
        self.requests: dict[str, Request] = {}

    def of(self, call: Call) -> Prefix | None:
        request = self.requests.get(call.id)
        if request is None or not request.blocks:
            return None
        key = request.blocks[0] if request.run is None else request.run
        return Prefix(stable(str(key)), list(request.blocks), request.tokens, request.run is not None)


def replicas(count: int, kv_tokens: int) -> tuple[Target, ...]:
    traits = Traits(prefix_cache=True, kv_tokens=kv_tokens)
    return tuple(replace(target_of(f"{number}/m"), traits=traits) for number in range(count))


class Gated:
    """The gate's router as a policy of the world: one process."""

    def __init__(self, count: int, affinity: Affinity, rng: Random, *, kv_tokens: int) -> None:
        self._loads, self._known = Loads(), Known()
        self._warmth = Warmth(affinity, self._known)
        self._router = Router("score", self._loads, self._warmth)
        self._targets = replicas(count, kv_tokens)
        self._rng = rng
        self._sent: dict[int, tuple[Ticket, Promise | None]] = {}

    def choose(self, request: Request, now: float) -> int:
        asked = self._call(request)
        self._known.requests[asked.id] = request
        choice = self._router.choose(asked, self._targets, tried=(), now=now, rng=self._rng)
        return int(choice.target.provider)

    def started(self, request: Request, replica: int, now: float) -> None:
        asked, target = self._call(request), self._targets[replica]
        promise = self._warmth.started(asked, target, now)
        ticket = self._loads.started(asked, target, now, None if promise is None else promise.cached)
        self._sent[request.number] = ticket, promise
        del self._known.requests[asked.id]

    def first_event(self, request: Request, now: float) -> None:
        self._loads.first_event(self._sent[request.number][0], now)

    def ended(self, request: Request, now: float, cached_tokens: int) -> None:
        ticket, promise = self._sent.pop(request.number)
        self._loads.ended(ticket, now, cached_tokens)
        if promise is not None:
            self._warmth.affinity.ended(promise, cached_tokens, request.tokens)

    def _call(self, request: Request) -> Call:
        return replace(STREAM, id=str(request.number), input_tokens_estimate=request.tokens)


Make = Callable[[int, int], Policy]  # (blocks of a replica, seed)
Of = Literal["mean", "p99"]
OF: tuple[Of, ...] = get_args(Of)


def baseline(kind: type[LeastRequests], blocks: int, seed: int) -> Policy:
    return kind(8, blocks, Random(seed))


def gated(times: float = 1.0) -> Make:
    """One process; what is stated of the replicas' memory is so many times the truth."""

    def make(blocks: int, seed: int) -> Policy:
        affinity = Affinity(block_tokens=BLOCK_TOKENS)
        return Gated(8, affinity, Random(seed), kv_tokens=int(times * blocks * BLOCK_TOKENS))

    return make


def processes(count: int, blocks: int, seed: int, *, homes: Homes | None, unshared: bool = False) -> list[Policy]:
    """Several of the gate, each with loads and indexes of its own."""

    def of_process() -> Affinity:
        affinity = Affinity(homes, processes=count, block_tokens=BLOCK_TOKENS)
        affinity.unshared = unshared
        return affinity

    return [
        Gated(
            8,
            of_process(),
            Random(seed * 100 + number),
            kv_tokens=blocks * BLOCK_TOKENS,
        )
        for number in range(count)
    ]


def talked(arrivals: Sequence[tuple[float, Request]], speeds: Sequence[float], policy: Policy) -> list[float]:
    """Seconds to the first event of each request of the conversation."""
    world = World(speeds, CONVERSATION_BLOCKS, [policy])
    for at, request in arrivals:
        world.later(at, partial(world.send, request))
    return firsts(world.play())


def worked(
    runs: Sequence[AgentRun], speeds: Sequence[float], policies: Sequence[Policy], *, seed: int, pinned: bool = False
) -> list[float]:
    """The same of each call of the agents."""
    world = World(speeds, AGENT_BLOCKS, policies, seed=seed, pinned=pinned)
    return firsts(Agents(world, runs, active=ACTIVE, within_s=WITHIN_S).play(seed))


def firsts(done: Sequence[Done]) -> list[float]:
    return [each.first_s for each in done]


class Figures(NamedTuple):
    """Of first events, in seconds."""

    mean: float
    p99: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} / {self.p99:.1f} s"


def figures(samples: Sequence[Sequence[float]]) -> Figures:
    """Means over the seeds."""
    return Figures(mean([mean(each) for each in samples]), mean([quantile(each, 0.99) for each in samples]))


ROUTERS: Mapping[str, Make] = {name: partial(baseline, kind) for name, kind in BASELINES.items()} | {OURS: gated()}


def rows(folder: Path | None) -> Iterator[Row]:
    """Everything that is asked of the routing; a minute or two."""
    for speeds, named in ((EQUAL, "equal"), (HALF, "half at half speed")):
        found = {
            name: figures([talked(conversation(folder, 1), speeds, make(CONVERSATION_BLOCKS, 1))])
            for name, make in ROUTERS.items()
        }
        yield from compared(
            f"conversation, {named}",
            found,
            (("mean", "least requests", 0.5), ("mean", "SGLang-style", 0.55), ("mean", "DualMap-style", 0.85)),
        )
    runs = [agents(folder, seed, RUNS) for seed in range(SEEDS)]
    ours = Figures(0.0, 0.0)
    for speeds, named in ((EQUAL, "equal"), (HALF, "half at half speed")):
        found = {name: agents_figures(runs, speeds, make) for name, make in ROUTERS.items()}
        share, tail = (0.4, 0.85) if speeds == EQUAL else (0.5, 0.6)
        yield from compared(f"agents, {named}", found, (("mean", "greedy", share), ("p99", "SGLang-style", tail)))
        if speeds == EQUAL:
            ours = found[OURS]
    yield from several(runs, ours)
    for times in (1 / 3, 3.0):
        yield shown(
            f"agents, equal, memory stated {times:.2g} x the truth: mean / p99",
            str(agents_figures(runs[:1], EQUAL, gated(times))),
        )
    yield at_most(
        "decision at 32 targets, 800 blocks of which 20 are new, the least of 60",
        decision_us(),
        150.0,
        unit="us",
        digits=0,
    )


def agents_figures(runs: Sequence[Sequence[AgentRun]], speeds: Sequence[float], make: Make) -> Figures:
    return figures([worked(each, speeds, [make(AGENT_BLOCKS, seed)], seed=seed) for seed, each in enumerate(runs)])


def compared(where: str, found: Mapping[str, Figures], bounds: Sequence[tuple[Of, str, float]]) -> Iterator[Row]:
    """The figures of all, the bounds against some, and that no other is better by more than a twentieth."""
    for name, each in found.items():
        yield shown(f"{where}: {name}, mean / p99", str(each))
    ours = found[OURS]
    for of, other, share in bounds:
        yield at_most(f"{where}: {of} against {other}", getattr(ours, of) / getattr(found[other], of), share, digits=2)
    for of in OF:
        best = min(getattr(each, of) for name, each in found.items() if name != OURS)
        yield at_most(f"{where}: {of} against the best of the others", getattr(ours, of) / best, 1.05, digits=2)


def several(runs: Sequence[Sequence[AgentRun]], one: Figures) -> Iterator[Row]:
    """Four processes, calls landing anywhere, against one."""
    kinds: Mapping[str, Callable[[int], list[float]]] = {
        "shared homes": lambda seed: worked(
            runs[seed], EQUAL, processes(4, AGENT_BLOCKS, seed, homes=Homes()), seed=seed
        ),
        "runs pinned": lambda seed: worked(
            runs[seed], EQUAL, processes(4, AGENT_BLOCKS, seed, homes=None), seed=seed, pinned=True
        ),
        "several gates, by rendezvous": lambda seed: worked(
            runs[seed], EQUAL, processes(4, AGENT_BLOCKS, seed, homes=None, unshared=True), seed=seed
        ),
    }
    for name, play in kinds.items():
        found = figures([play(seed) for seed in range(len(runs))])
        yield shown(f"agents, equal, 4 processes, {name}: mean / p99", str(found))
        if name != "several gates, by rendezvous":
            yield at_most(f"agents, equal, 4 processes, {name}: mean against one", found.mean / one.mean, 1.8, digits=2)


def decision_us() -> float:
    """CPU of one choice, from the body's fields to the target, of a run that goes on; the least of many. Each body has
    just been put together and read, as it is when a call comes to be decided."""
    targets, rng = replicas(32, 1_000_000), Random(1)
    warmth, loads = Warmth(Affinity()), Loads()
    router = Router("score", loads, warmth)
    best = inf
    for number, made in enumerate(list(pairs(800, 20, runs=60))):
        asked = arrived(made)
        began = process_time_ns()
        choice = router.choose(asked, targets, tried=(), now=float(number), rng=rng)
        took = process_time_ns() - began
        if number % 2:  # a run's first is hashed as a whole
            best = min(best, took / 1_000)
        promise = warmth.started(asked, choice.target, float(number))
        ticket = loads.started(asked, choice.target, float(number), None if promise is None else promise.cached)
        loads.first_event(ticket, number + 0.1)
        loads.ended(ticket, number + 0.2, None)
    return best


def arrived(made: Call) -> Call:
    """The same call, its body of the pieces that a socket gives."""
    raw = b"".join([made.raw[at : at + PIECE_BYTES] for at in range(0, len(made.raw), PIECE_BYTES)])
    return replace(made, raw=raw, head=read("chat", raw, "application/json"))


def pairs(blocks: int, new: int, *, runs: int) -> Iterator[Call]:
    """Two calls of each run, the second of so many blocks, of which the last are new."""
    rng = Random(1)
    for run in range(runs):
        texts = [rng.randbytes(BLOCK_BYTES // 2 - 16).hex() for _ in range(blocks)]
        for number, count in enumerate((blocks - new, blocks)):
            raw = json.dumps({"model": "m", "messages": [{"content": text} for text in texts[:count]]}).encode()
            who = Identity(key_id="k", agent="a", run=str(run))
            made = call(head=read("chat", raw, "application/json"), raw=raw, identity=who)
            yield replace(made, id=f"{run}/{number}", input_tokens_estimate=len(raw) // 4)
