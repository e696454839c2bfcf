"""Upstreams as coroutines: `send` returns at the first content, fails, or never comes back; the answer then goes on.

`Drawn` takes its time from a law, independent of load; `Limited` has so many places; `Replicas` are engines that read
prompts one after another and keep what they have read. All of them count what they were asked.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

FOREVER_S = 1e6
BLOCK_TOKENS = 512
TOKENS_A_S = 8_000
CACHED_BLOCKS = 2_000
DECODE_S = 0.02  # a token, alone


@dataclass(frozen=True, slots=True)
class Request:
    number: int
    at: float  # seconds from the start
    model: str = "m"
    usual_s: float = 1.0  # what its time is divided by in the report
    tokens: int = 100
    output: int = 1
    blocks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Draw:
    """One try: content after `seconds`, or an error status. `seconds` may be forever."""

    seconds: float
    status: int = 200


PROBE = Request(-1, 0.0)
Law = Callable[[Random, Request, float], Draw]  # the last: seconds from the start


class Failed(Exception):
    """An upstream's error reply."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


@dataclass(slots=True)
class Answer:
    """`rest_s` seconds until it is complete; `ended` is told."""

    cached: int = 0
    rest_s: float = 0.0
    ended: Callable[[], None] | None = None

    async def rest(self) -> None:
        try:
            if self.rest_s:
                await asyncio.sleep(self.rest_s)
        finally:
            self.close()

    def close(self) -> None:
        ended, self.ended = self.ended, None
        if ended is not None:
            ended()


class Upstreams(Protocol):
    count: int
    asked: list[tuple[float, int]]  # (instant, target) of every try

    async def send(self, target: int, request: Request) -> Answer: ...

    async def probe(self, target: int) -> None:
        """A question that costs nothing and takes no place. Raises Failed."""
        ...


class Drawn:
    """Each target has its law; the n-th try of a request at a target is the same draw whoever asks."""

    def __init__(self, laws: Sequence[Law], seed: int) -> None:
        self.count = len(laws)
        self.asked: list[tuple[float, int]] = []
        self._laws = laws
        self._seed = seed
        self._tries: dict[tuple[int, int], int] = {}
        self._began = asyncio.get_running_loop().time()

    async def send(self, target: int, request: Request) -> Answer:
        now = asyncio.get_running_loop().time() - self._began
        self.asked.append((now, target))
        key = request.number, target
        number = self._tries[key] = self._tries.get(key, 0) + 1
        rng = Random(hash((self._seed, request.number, target, number)))
        await _drawn(self._laws[target](rng, request, now))
        return Answer()

    async def probe(self, target: int) -> None:
        now = asyncio.get_running_loop().time() - self._began
        await _drawn(self._laws[target](Random(hash((self._seed, target, now))), PROBE, now))


async def _drawn(draw: Draw) -> None:
    await asyncio.sleep(draw.seconds)
    if draw.status != 200:
        raise Failed(draw.status)


class Limited:
    """`places` requests at a time at each target, each for a time by the law; the others wait in order of arrival."""

    def __init__(self, laws: Sequence[Law], seed: int, *, places: int) -> None:
        self.count = len(laws)
        self.asked: list[tuple[float, int]] = []
        self._drawn = Drawn(laws, seed)
        self._places = [asyncio.Semaphore(places) for _ in laws]
        self._began = asyncio.get_running_loop().time()

    async def send(self, target: int, request: Request) -> Answer:
        self.asked.append((asyncio.get_running_loop().time() - self._began, target))
        async with self._places[target]:
            return await self._drawn.send(target, request)

    async def probe(self, target: int) -> None:
        await self._drawn.probe(target)


class Replica:
    """One prompt is read at a time, faster the less of it is new, slower the more answers are being made."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._reading = asyncio.Lock()  # first come, first served
        self._answering = 0
        self._cache: OrderedDict[int, None] = OrderedDict()

    async def send(self, request: Request) -> Answer:
        async with self._reading:
            cached = self._cached_tokens(request)
            new = request.tokens - cached
            await asyncio.sleep(new / (TOKENS_A_S * self._speed) * (1 + self._answering / 128))
            self._keep(request)
        rest_s = request.output * DECODE_S / self._speed * (1 + self._answering / 64)
        self._answering += 1
        return Answer(cached, rest_s, self._ended)

    def _ended(self) -> None:
        self._answering -= 1

    def _cached_tokens(self, request: Request) -> int:
        hit = 0
        for block in request.blocks:
            if block not in self._cache:
                break
            hit += BLOCK_TOKENS
        return min(hit, request.tokens)

    def _keep(self, request: Request) -> None:
        """The last block first: what is forgotten first is an end, not a beginning."""
        for block in reversed(request.blocks):
            self._cache[block] = None
            self._cache.move_to_end(block)
        while len(self._cache) > CACHED_BLOCKS:
            self._cache.popitem(last=False)


class Replicas:
    def __init__(self, speeds: Sequence[float]) -> None:
        self.count = len(speeds)
        self.asked: list[tuple[float, int]] = []
        self._replicas = [Replica(speed) for speed in speeds]
        self._began = asyncio.get_running_loop().time()

    async def send(self, target: int, request: Request) -> Answer:
        self.asked.append((asyncio.get_running_loop().time() - self._began, target))
        return await self._replicas[target].send(request)

    async def probe(self, target: int) -> None:
        """They are always well."""
