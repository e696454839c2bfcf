"""A thread that writes for others: it sleeps until it is woken, lets what comes meanwhile gather, and empties a queue.

What waits, how much of it may, and what writing means are its owner's. Whoever wakes it never waits. Until it is woken
there is no thread.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Final

CLOSE_S: Final = 5.0


class Gatherer:
    """`drain` empties the queue, and `end` is called after the last time, both in the thread; `gather_s` is how long it
    waits for more before it drains."""

    def __init__(
        self, name: str, gather_s: float, *, drain: Callable[[], None], end: Callable[[], None] | None = None
    ) -> None:
        self.closed = False  # the event's word as an attribute: for hot paths
        self._name = name
        self._gather_s = gather_s
        self._drain = drain
        self._end = end
        self._woken, self._closing = Event(), Event()
        self._starting = Lock()
        self._thread: Thread | None = None

    def __repr__(self) -> str:
        state = "closed" if self.closed else "asleep" if self._thread is None else "running"
        return f"Gatherer({self._name}, {state})"

    def wake(self) -> None:
        """Something waits; from any thread."""
        if self._woken.is_set():
            return
        self._woken.set()
        if self._thread is None:
            self._start()

    def close(self) -> None:
        """Drains what waits, for a few seconds at most."""
        self.closed = True
        self._closing.set()
        self._woken.set()
        with self._starting:
            thread = self._thread
        if thread is not None:
            thread.join(CLOSE_S)

    def _start(self) -> None:
        """Who finds another at it leaves it to that one: a loop may hang there, and it be its watchdog that comes."""
        if not self._starting.acquire(blocking=False):
            return
        try:
            if self._thread is None and not self.closed:
                thread = Thread(target=self._run, name=self._name, daemon=True)
                thread.start()
                self._thread = thread
        finally:
            self._starting.release()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._woken.wait()
            self._closing.wait(self._gather_s)
            self._woken.clear()  # before the queue is read: what comes later wakes it again
            self._drain()
        self._drain()
        if self._end is not None:
            self._end()
