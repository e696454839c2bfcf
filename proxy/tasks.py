"""The one place that starts tasks: each has a name, is kept until it ends, and is cancelled when its owner closes.

A task that fails is counted and reported through `on_error`, never lost in the garbage collector.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

ROUNDS = 3

Report = Callable[[str, BaseException], None]


class Tasks:
    def __init__(self, on_error: Report) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self._on_error = on_error

    def __repr__(self) -> str:
        return f"Tasks({sorted(task.get_name() for task in self._running)})"

    def __len__(self) -> int:
        return len(self._running)

    def start(self, name: str, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def close(self, grace_s: float = 0.0) -> None:
        """Waits up to `grace_s` for what runs, then cancels it."""
        if self._running and grace_s > 0:
            await asyncio.wait(tuple(self._running), timeout=grace_s)
        for _ in range(ROUNDS):  # what is cancelled may start something while it ends
            for task in tuple(self._running):
                task.cancel()
            if not self._running:
                return
            await asyncio.wait(tuple(self._running), timeout=5.0)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._on_error(task.get_name(), error)
