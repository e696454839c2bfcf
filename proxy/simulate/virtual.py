"""Time that passes only where something waits for it: an event loop that jumps to its next timer, and the clock to it.

An hour of calls takes as long as deciding about them does. Nothing of a simulation is outside of the process, so the
loop never waits for a socket; while a thread works for it, it waits for that one. After Trio's MockClock (autojump).
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import TypeVar, TypeVarTuple

from proxy.clock import SystemClock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

THREAD_S = 0.01  # how long a look at threads that are at work takes
STUCK_S = 1.0  # real seconds without any event and without any timer before the loop gives up


class _Selector(selectors.DefaultSelector):
    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.loop.in_threads:
            return super().select(0 if timeout == 0 else THREAD_S)
        if timeout is None:
            if found := super().select(STUCK_S):
                return found
            raise RuntimeError("nothing is scheduled: a task waits for something that nobody will do")
        self.loop.passed_s += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` begins at 0 and moves only by jumping to the next timer."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.passed_s = 0.0
        self.in_threads = 0
        super().__init__(selector)

    def time(self) -> float:
        return self.passed_s

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self.in_threads += 1
        future.add_done_callback(self._done)
        return future

    def _done(self, _: object) -> None:
        self.in_threads -= 1


class VirtualClock(SystemClock):
    """Runs with the loop; `began_wall` is when that began, in seconds since 1970."""

    def __init__(self, seed: int, began_wall: float) -> None:
        super().__init__(seed, now=lambda: asyncio.get_running_loop().time())
        self._began_wall = began_wall
        self._numbered = 0

    def wall(self) -> float:
        return self._began_wall + self.now()

    def id(self) -> str:
        self._numbered += 1
        return f"{self._numbered:032x}"


def run(main: Coroutine[object, object, T]) -> T:
    """Runs `main` on a virtual loop of its own and closes everything afterwards."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
