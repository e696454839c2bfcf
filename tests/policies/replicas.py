"""Replicas of an engine as discrete events, to run a balancing policy against: first events in virtual seconds.

A replica reads prompts one after another, so many tokens a second, slower the more answers it makes meanwhile; blocks
of prompts that it has read are cached up to a bound. Arrivals are recorded ones where a trace is at hand, else made up.
"""

from __future__ import annotations

import gzip
import heapq
import json
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Protocol

from msgspec import Struct

BLOCK_TOKENS = 512
TOKENS_PER_S = 8_000
CACHED_BLOCKS = 2_000


class Arrival(Struct, frozen=True):
    at: float
    tokens: int
    output: int
    blocks: tuple[int, ...] = ()


class Policy(Protocol):
    """Replicas go by their index."""

    def choose(self, arrival: Arrival, now: float) -> int: ...
    def started(self, number: int, replica: int, now: float) -> None: ...
    def first_event(self, number: int, now: float) -> None: ...
    def ended(self, number: int, now: float, cached_tokens: int) -> None: ...


class Replica:
    def __init__(self, speed: float, cached_blocks: int = CACHED_BLOCKS, first_s: float = 0.0) -> None:
        self.speed = speed
        self.first_s = first_s  # of each prompt, whatever its length
        self.decodes = 0
        self.reading: tuple[int, Arrival] | None = None
        self.line: deque[tuple[int, Arrival]] = deque()
        self._cached_blocks = cached_blocks
        self._cache: OrderedDict[int, None] = OrderedDict()

    def hits(self, arrival: Arrival) -> int:
        """Tokens of the longest prefix that is cached."""
        hit = 0
        for block in arrival.blocks:
            if block not in self._cache:
                break
            hit += BLOCK_TOKENS
        return min(hit, arrival.tokens)

    def keep(self, arrival: Arrival) -> None:
        """The last block first, so that what is forgotten first is an end, not a beginning."""
        for block in reversed(arrival.blocks):
            self._cache[block] = None
            self._cache.move_to_end(block)
        while len(self._cache) > self._cached_blocks:
            self._cache.popitem(last=False)

    def read_s(self, tokens: int) -> float:
        return (self.first_s + tokens / TOKENS_PER_S) / self.speed * (1 + self.decodes / 128)

    def decode_s(self, arrival: Arrival) -> float:
        return arrival.output * 0.02 / self.speed * (1 + self.decodes / 64)


class Run:
    """`first_s[n]` and `went[n]` belong to the n-th arrival."""

    def __init__(self, replicas: list[Replica], policy: Policy) -> None:
        self.replicas = replicas
        self.first_s: list[float] = []
        self.went: list[int] = []
        self._policy = policy
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._count = 0

    def play(self, arrivals: Sequence[Arrival]) -> None:
        self.first_s = [0.0] * len(arrivals)
        self.went = [-1] * len(arrivals)
        for number, arrival in enumerate(arrivals):
            self._later(arrival.at, partial(self._arrive, number, arrival))
        while self._events:
            now, _, happen = heapq.heappop(self._events)
            happen(now)

    def _later(self, at: float, happen: Callable[[float], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (at, self._count, happen))

    def _arrive(self, number: int, arrival: Arrival, now: float) -> None:
        chosen = self._policy.choose(arrival, now)
        self._policy.started(number, chosen, now)
        self.went[number] = chosen
        replica = self.replicas[chosen]
        replica.line.append((number, arrival))
        if replica.reading is None:
            self._read_next(replica, now)

    def _read_next(self, replica: Replica, now: float) -> None:
        replica.reading = number, arrival = replica.line.popleft()
        hits = replica.hits(arrival)
        done = now + replica.read_s(arrival.tokens - hits)
        self._later(done, lambda at: self._first(replica, number, arrival, hits=hits, now=at))

    def _first(self, replica: Replica, number: int, arrival: Arrival, *, hits: int, now: float) -> None:
        replica.keep(arrival)
        replica.reading = None
        self.first_s[number] = now - arrival.at
        self._policy.first_event(number, now)
        replica.decodes += 1
        self._later(now + replica.decode_s(arrival), lambda at: self._end(replica, number, hits, at))
        if replica.line:
            self._read_next(replica, now)

    def _end(self, replica: Replica, number: int, hits: int, now: float) -> None:
        replica.decodes -= 1
        self._policy.ended(number, now, hits)


class LeastRequests:
    """The baseline: the fewest calls running, ties at random."""

    def __init__(self, count: int, rng: Random) -> None:
        self._running = [0] * count
        self._rng = rng
        self._where: dict[int, int] = {}

    def choose(self, arrival: Arrival, now: float) -> int:
        least = min(self._running)
        return self._rng.choice([index for index, running in enumerate(self._running) if running == least])

    def started(self, number: int, replica: int, now: float) -> None:
        self._where[number] = replica
        self._running[replica] += 1

    def first_event(self, number: int, now: float) -> None:
        pass

    def ended(self, number: int, now: float, cached_tokens: int) -> None:
        self._running[self._where[number]] -= 1


class LeastTokens(LeastRequests):
    """Another baseline: the fewest tokens of prompts not yet answered."""

    def __init__(self, count: int, rng: Random) -> None:
        super().__init__(count, rng)
        self._tokens: dict[int, int] = {}
        self._asked = 0

    def choose(self, arrival: Arrival, now: float) -> int:
        self._asked = arrival.tokens
        return super().choose(arrival, now)

    def started(self, number: int, replica: int, now: float) -> None:
        self._where[number], self._tokens[number] = replica, self._asked
        self._running[replica] += self._asked

    def first_event(self, number: int, now: float) -> None:
        self._running[self._where[number]] -= self._tokens[number]

    def ended(self, number: int, now: float, cached_tokens: int) -> None:
        pass


class RoundRobin(LeastRequests):
    def choose(self, arrival: Arrival, now: float) -> int:
        return len(self._where) % len(self._running)


def recorded(path: Path) -> list[Arrival]:
    """The Mooncake conversation trace: arrivals of an hour, many of them at the same instant."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [
        Arrival(row["timestamp"] / 1000, row["input_length"], row["output_length"], tuple(row["hash_ids"]))
        for row in rows
    ]


def made_up(count: int, a_second: float, rng: Random, *, tokens: float = 6_000, sigma: float = 1.2) -> list[Arrival]:
    """Poisson arrivals of log-normal prompts; `tokens` is their median."""
    now, arrivals = 0.0, []
    for _ in range(count):
        now += rng.expovariate(a_second)
        length = min(100_000, max(16, int(tokens * rng.lognormvariate(0.0, sigma))))
        arrivals.append(Arrival(now, length, int(200 * rng.lognormvariate(0.0, 0.6)) + 1))
    return arrivals


def quantile(values: Sequence[float], share: float) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
