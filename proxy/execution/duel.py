"""Two attempts at one call: the second starts when the first is late, and the first content wins (a hedged request,
Dean and Barroso, "The Tail at Scale", 2013).

The primary runs in the call's own task; the second has a task of its own, made only when it starts, so that a call
which is in time costs no more than a timer. Who has won is decided without an await, once. The loser is closed and
settled before the winner's reply goes on, but for one that its provider bills to the end: that is left open, and read
to its end once the client has its reply. When to start and where to go is not decided here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.errors import ProxyError
from proxy.execution.attempt import Exchange
from proxy.execution.bench import Timeouts
from proxy.tasks import Tasks

# The second attempt; or in how many seconds to ask again; or None: there will be none.
Start = Callable[[], Exchange | float | None]


class Duel:
    """For one use. `second` is there once it has started."""

    def __init__(self, primary: Exchange, start: Start, timeouts: Timeouts, tasks: Tasks) -> None:
        self.second: Exchange | None = None
        self.failed: tuple[Exchange, ProxyError] | None = None  # the one whose error nobody is told
        self._primary = primary
        self._timeouts = timeouts
        self._start = start
        self._tasks = tasks
        self._running: asyncio.Task[None] | None = None  # the second one's
        self._winner: Exchange | None = None
        self._over = False  # it is decided, or nothing is left to decide
        self._alone = False  # the primary has failed

    def __repr__(self) -> str:
        return f"Duel({self._primary!r}, {self.second!r}, over={self._over})"

    async def run(self, delay_s: float) -> Exchange:
        """The one that answered first. Raises the primary's ProxyError when neither did."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # a call is served by one
        self._loop, self._task, self._delay_s = loop, task, delay_s
        self._timer = loop.call_later(delay_s, self._late)
        cancelled_before = task.cancelling()
        try:
            await self._primary.open(self._timeouts)
            if self._winner is None:
                self._winner = self._primary
        except ProxyError as error:
            if self._running is None:
                raise
            self._alone = True
            await asyncio.wait((self._running,))
            if self._winner is None:
                raise
            self.failed = (self._primary, error)
        except asyncio.CancelledError:
            if self._winner is None or task.uncancel() > cancelled_before:
                raise  # the client has left, or somebody ended the call
        finally:
            self._over = True
            self._timer.cancel()
            await self._close_losers()
        return self._winner

    def _late(self) -> None:
        """The time has come; what the primary has waited for money or a connection slot does not count."""
        trip = self._primary.trip
        waited_s = 0.0 if trip is None else self._loop.time() - trip.began_at
        if trip is None or waited_s < self._delay_s - 0.001:
            self._timer = self._loop.call_later(self._delay_s - waited_s, self._late)
            return
        second = self._start()
        if isinstance(second, Exchange):
            self.second = second
            self._running = self._tasks.start("hedge", self._run_second(second))
        elif second is not None:
            self._delay_s += second
            self._timer = self._loop.call_later(second, self._late)

    async def _run_second(self, second: Exchange) -> None:
        try:
            await second.open(self._timeouts)
        except ProxyError as error:
            self.failed = (second, error)  # settled; the primary may still come
            return
        if self._over or self._winner is not None:
            return  # too late, by a step of the loop
        self._winner = second
        if not self._alone:
            self._task.cancel()

    async def _close_losers(self) -> None:
        if self._running is not None and not self._running.done():
            self._running.cancel()
            await asyncio.wait((self._running,))
        for exchange in (self._primary, self.second):
            if exchange is None or exchange is self._winner or exchange.is_drained:
                continue
            await exchange.end("abandoned")
