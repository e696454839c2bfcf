"""What gateways commonly do about tails, each as one small class: the sides that a gate is held against.

All try at most three times, a target that was not tried first, and give up a try after the scenario's timeout. None of
them knows what the world is like.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from random import Random

from .upstreams import Answer, Failed, Request, Upstreams

TRIES = 3
BACKOFF_S = 0.25
COOLDOWN_S, FAILURES, WITHIN_S = 30.0, 3, 60.0
EWMA = 0.1


class RetryOnly:
    """Any target, again elsewhere after a failure."""

    name = "retry only"

    def __init__(self, upstreams: Upstreams, seed: int, *, timeout_s: float) -> None:
        self.upstreams = upstreams
        self.rng = Random(seed)
        self.timeout_s = timeout_s

    async def ask(self, request: Request) -> float:
        """Seconds to the first content. Raises Failed when every try has failed."""
        loop = asyncio.get_running_loop()
        began, tried = loop.time(), list[int]()
        while True:  # bounded by TRIES
            target = self.choose([t for t in range(self.upstreams.count) if t not in tried])
            tried.append(target)
            try:
                answer = await self.attempt(target, request)
            except (Failed, TimeoutError):
                if len(tried) == TRIES:
                    raise Failed(502) from None
                if len(tried) >= self.upstreams.count:
                    await asyncio.sleep(self.rng.random() * BACKOFF_S * 2 ** len(tried))
                continue
            took = loop.time() - began
            await self.rest(target, answer)
            return took

    def choose(self, untried: Iterable[int]) -> int:
        return self.rng.choice(list(untried) or range(self.upstreams.count))

    async def attempt(self, target: int, request: Request) -> Answer:
        async with asyncio.timeout(self.timeout_s):
            return await self.upstreams.send(target, request)

    async def rest(self, target: int, answer: Answer) -> None:
        await answer.rest()


class Cooldowns(RetryOnly):
    """A target that failed three times within a minute is left alone for half a minute."""

    name = "shuffle, cooldowns"

    def __init__(self, upstreams: Upstreams, seed: int, *, timeout_s: float) -> None:
        super().__init__(upstreams, seed, timeout_s=timeout_s)
        self._failed: list[list[float]] = [[] for _ in range(upstreams.count)]
        self._out_until = [0.0] * upstreams.count

    def choose(self, untried: Iterable[int]) -> int:
        now = asyncio.get_running_loop().time()
        fresh = list(untried) or list(range(self.upstreams.count))
        return self.rng.choice([target for target in fresh if self._out_until[target] <= now] or fresh)

    async def attempt(self, target: int, request: Request) -> Answer:
        try:
            return await super().attempt(target, request)
        except (Failed, TimeoutError):
            self._note(target, asyncio.get_running_loop().time())
            raise

    def _note(self, target: int, now: float) -> None:
        recent = [at for at in self._failed[target] if now - at < WITHIN_S]
        self._failed[target] = [*recent, now]
        if len(recent) + 1 >= FAILURES:
            self._out_until[target], self._failed[target] = now + COOLDOWN_S, []


class LowestLatency(RetryOnly):
    """The fastest so far by a moving mean; a failure counts as a timeout. What is slow is not asked and stays slow."""

    name = "lowest latency"

    def __init__(self, upstreams: Upstreams, seed: int, *, timeout_s: float) -> None:
        super().__init__(upstreams, seed, timeout_s=timeout_s)
        self._mean_s = [0.0] * upstreams.count

    def choose(self, untried: Iterable[int]) -> int:
        return min(list(untried) or range(self.upstreams.count), key=self._mean_s.__getitem__)

    async def attempt(self, target: int, request: Request) -> Answer:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            answer = await super().attempt(target, request)
        except (Failed, TimeoutError):
            self._learn(target, self.timeout_s)
            raise
        self._learn(target, loop.time() - began)
        return answer

    def _learn(self, target: int, seconds: float) -> None:
        mean = self._mean_s[target]
        self._mean_s[target] = seconds if not mean else mean + EWMA * (seconds - mean)


class LeastRequests(RetryOnly):
    """Whoever has the fewest requests under way; ties at random."""

    name = "least requests"

    def __init__(self, upstreams: Upstreams, seed: int, *, timeout_s: float) -> None:
        super().__init__(upstreams, seed, timeout_s=timeout_s)
        self._running = [0] * upstreams.count

    def choose(self, untried: Iterable[int]) -> int:
        fresh = list(untried) or list(range(self.upstreams.count))
        least = min(self._running[target] for target in fresh)
        return self.rng.choice([target for target in fresh if self._running[target] == least])

    async def attempt(self, target: int, request: Request) -> Answer:
        self._running[target] += 1
        try:
            return await super().attempt(target, request)
        except BaseException:
            self._running[target] -= 1
            raise

    async def rest(self, target: int, answer: Answer) -> None:
        try:
            await super().rest(target, answer)
        finally:
            self._running[target] -= 1


class FixedHedge(RetryOnly):
    """A second copy elsewhere after a time that somebody has found for this world; the first content wins."""

    name = "hedge by hand"

    def __init__(self, upstreams: Upstreams, seed: int, *, timeout_s: float, hedge_s: float) -> None:
        super().__init__(upstreams, seed, timeout_s=timeout_s)
        self._hedge_s = hedge_s

    def hedge_after_s(self, request: Request) -> float:
        return self._hedge_s

    async def attempt(self, target: int, request: Request) -> Answer:
        loop = asyncio.get_running_loop()
        first = loop.create_task(super().attempt(target, request))
        try:
            await asyncio.wait((first,), timeout=self.hedge_after_s(request))
            if first.done():
                return first.result()
            other = self.choose([t for t in range(self.upstreams.count) if t != target])
            return await _first_of(first, loop.create_task(super().attempt(other, request)))
        finally:
            first.cancel()


class HindsightHedge(FixedHedge):
    """The same in parts of what is usual for the request, which nobody knows beforehand: `hedge_s` of each second."""

    def hedge_after_s(self, request: Request) -> float:
        return self._hedge_s * request.usual_s


async def _first_of(first: asyncio.Task[Answer], second: asyncio.Task[Answer]) -> Answer:
    """The first that succeeds. Raises the last failure."""
    running = {first, second}
    try:
        while True:  # at most twice
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            good = [task for task in done if task.exception() is None]
            if good or not running:
                return (good or list(done))[0].result()
    finally:
        for task in running:
            task.cancel()


BASELINES = (RetryOnly, Cooldowns, LowestLatency, LeastRequests)
