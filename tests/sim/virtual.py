"""Virtual time without sockets: when nothing is ready the loop jumps to the next timer at once, and the clock follows.

`tests.loop` waits a little before it jumps, because loopback bytes may be under way; here all is in memory, so a seed
of several virtual minutes takes a few milliseconds. Ids and wall time come from the seed alone.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

BEGAN_WALL = 1_790_000_000.0


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]  # its base is chosen by the platform
    loop: MemoryLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout == 0:
            return []
        if timeout is None:
            raise RuntimeError("nothing is scheduled: a task waits for something that nobody will do")
        self.loop.jump(timeout)
        return []


class MemoryLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self._virtual = 1000.0
        super().__init__(selector)

    def time(self) -> float:
        return self._virtual

    def jump(self, seconds: float) -> None:
        self._virtual += seconds


class SeededClock:
    """A `Clock` of which the seed decides everything."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._ids = 0
        self._streams: dict[str, random.Random] = {}

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return BEGAN_WALL + self.now()

    def id(self) -> str:
        self._ids += 1
        return f"{self._seed:016x}{self._ids:016x}"

    def rng(self, purpose: str) -> random.Random:
        if purpose not in self._streams:
            self._streams[purpose] = random.Random(f"{self._seed}:{purpose}")
        return self._streams[purpose]


def run(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=MemoryLoop) as runner:
        return runner.run(main)
