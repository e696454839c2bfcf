"""Replicas of an engine that keep the prefixes of prompts, under requests that somebody routes; virtual seconds.

Each replica reads one prompt after another, and only what its cache does not hold: an LRU of blocks whose last ones go
first, so that what is kept of a prompt is always its beginning. Answers are made side by side and slow reading down.
Whoever routes sees what a gate would see: what it sent, first events, ends, and the cached tokens reported then.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

BLOCK_TOKENS = 512
READ_TOKENS_A_SECOND = 8_000.0
WRITE_S = 0.02  # a token of an answer
READERS, WRITERS = 128, 64  # so many answers at a time halve the speed of reading and of writing

Do = Callable[[float], None]  # with the instant at which it happens


@dataclass(frozen=True, slots=True)
class Request:
    """`blocks`: ids of the prompt's whole blocks, the same wherever the text up to their end is the same."""

    number: int
    tokens: int
    output: int
    blocks: tuple[int, ...]
    run: int | None = None
    step: int = 0


class Policy(Protocol):
    """A router: told of everything that a gate would see."""

    def choose(self, request: Request, now: float) -> int: ...

    def started(self, request: Request, replica: int, now: float) -> None: ...

    def first_event(self, request: Request, now: float) -> None: ...

    def ended(self, request: Request, now: float, cached_tokens: int) -> None: ...


@dataclass(slots=True)
class Done:
    """What became of one request. Instants are of the world."""

    request: Request
    asked_at: float
    replica: int
    first_at: float = 0.0
    ended_at: float = 0.0
    cached_tokens: int = 0

    @property
    def first_s(self) -> float:
        return self.first_at - self.asked_at


class Replica:
    """`blocks`: how many its memory holds."""

    def __init__(self, speed: float, blocks: int) -> None:
        self.speed = speed
        self.capacity = blocks
        self.held: OrderedDict[int, None] = OrderedDict()
        self.line: deque[tuple[Done, Do]] = deque()
        self.reading = False
        self.writing = 0

    def cached(self, request: Request) -> int:
        """Tokens of its beginning that are held."""
        held, count = self.held, 0
        for block in request.blocks:
            if block not in held:
                break
            count += 1
        return min(request.tokens, count * BLOCK_TOKENS)

    def keep(self, request: Request) -> None:
        held = self.held
        for block in reversed(request.blocks):
            held[block] = None
            held.move_to_end(block)
        while len(held) > self.capacity:
            held.popitem(last=False)

    def read_s(self, tokens: int) -> float:
        return tokens / (READ_TOKENS_A_SECOND * self.speed) * (1 + self.writing / READERS)

    def write_s(self, output: int) -> float:
        return output * WRITE_S / self.speed * (1 + self.writing / WRITERS)


class World:
    """`policies`: one a process of the gate; which of them routes a request is drawn, or its run's if `pinned`."""

    def __init__(
        self, speeds: Sequence[float], blocks: int, policies: Sequence[Policy], *, seed: int = 0, pinned: bool = False
    ) -> None:
        self.replicas = [Replica(speed, blocks) for speed in speeds]
        self.done: list[Done] = []
        self.now = 0.0
        self._policies = policies
        self._pinned = pinned
        self._rng = Random(seed)
        self._due: list[tuple[float, int, Do]] = []
        self._numbered = 0

    def later(self, at: float, do: Do) -> None:
        self._numbered += 1
        heapq.heappush(self._due, (at, self._numbered, do))

    def play(self) -> list[Done]:
        """Until nothing is left to happen."""
        due = self._due
        while due:
            self.now, _, do = heapq.heappop(due)
            do(self.now)
        return self.done

    def send(self, request: Request, now: float, ended: Callable[[Done], None] | None = None) -> None:
        """`ended` is told when its answer is complete."""
        policy = self._policy(request)
        number = policy.choose(request, now)
        policy.started(request, number, now)
        done, replica = Done(request, now, number), self.replicas[number]

        def told(at: float) -> None:
            policy.ended(request, at, done.cached_tokens)
            if ended is not None:
                ended(done)

        def first(at: float) -> None:
            policy.first_event(request, at)
            self._write(replica, done, told)

        replica.line.append((done, first))
        if not replica.reading:
            self._read(replica, now)

    def _policy(self, request: Request) -> Policy:
        policies = self._policies
        if len(policies) == 1:
            return policies[0]
        if self._pinned and request.run is not None:
            return policies[request.run % len(policies)]
        return policies[int(self._rng.random() * len(policies))]

    def _read(self, replica: Replica, now: float) -> None:
        done, first = replica.line.popleft()
        replica.reading = True
        done.cached_tokens = replica.cached(done.request)

        def read(at: float) -> None:
            replica.keep(done.request)
            replica.reading = False
            done.first_at = at
            first(at)
            if replica.line:
                self._read(replica, at)

        self.later(now + replica.read_s(done.request.tokens - done.cached_tokens), read)

    def _write(self, replica: Replica, done: Done, told: Do) -> None:
        replica.writing += 1

        def written(at: float) -> None:
            replica.writing -= 1
            done.ended_at = at
            self.done.append(done)
            told(at)

        self.later(done.first_at + replica.write_s(done.request.output), written)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def quantile(values: Sequence[float], share: float) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]
