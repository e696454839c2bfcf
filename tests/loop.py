"""An event loop whose clock is virtual: when nothing is ready it jumps to the next timer.

Sockets stay real (loopback), so real servers and clients run unchanged, minutes of their time in milliseconds,
and twice the same. While an executor thread is at work the loop waits for real; when nothing can ever happen again it
raises instead of hanging. After Trio's MockClock (autojump).
"""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

GRACE_S = 0.0001  # how long loopback bytes may be under way between two of our own sockets
THREAD_S = 0.001  # how long a thread may take that was started meanwhile and is no executor's
OWN_SOCKETS = 1  # the pipe that wakes the loop up
STUCK_S = 10.0  # real seconds without any event and without any timer before the loop gives up


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]  # its base is chosen by the platform
    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        alone = not self.loop.threads_busy() and threading.active_count() <= self.loop.threads
        if timeout is not None and alone and len(self.get_map()) <= OWN_SOCKETS:
            self.loop.jump(timeout)  # nobody is there from whom anything could be under way
            return []
        ready = self._brief_select() if alone else super().select(THREAD_S)
        if ready:
            return ready
        if self.loop.threads_busy():
            return super().select(0.05)
        if timeout is None:
            ready = super().select(STUCK_S)
            if not ready:
                raise RuntimeError("virtual loop: nothing is scheduled and nothing can arrive")
            return ready
        self.loop.jump(timeout)
        return []

    def _brief_select(self) -> list[Any]:
        time.sleep(GRACE_S)  # a selector itself may know whole milliseconds only
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 1000.0 and moves only by jumping to the next timer."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.threads = threading.active_count()  # those of others, who are not of this loop's world
        self._virtual = 1000.0
        self._in_executor = 0
        super().__init__(selector)

    def time(self) -> float:
        return self._virtual

    def jump(self, seconds: float) -> None:
        self._virtual += seconds

    def threads_busy(self) -> bool:
        return self._in_executor > 0

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        future = super().run_in_executor(executor, func, *args)
        self._in_executor += 1
        future.add_done_callback(self._executor_done)
        return future

    def _executor_done(self, _: object) -> None:
        self._in_executor -= 1


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs `main` on a virtual loop of its own and closes everything afterwards."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
