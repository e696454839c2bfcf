"""The connections of a transport: which are open, and which wait for another exchange, by origin.

Unbounded: how many calls an upstream gets at once is decided by permits, not here. The one that rested last goes out
first, so that what a burst opened grows old and is closed. Age is checked when a connection goes out; one timer, moved
only when it rings, closes those that nobody fetches.
"""

from __future__ import annotations

import asyncio

from proxy.providers.line import Line

ROUND_LEAST_S = 1.0  # between two looks at what has grown old


class Pool:
    def __init__(self, keep_alive_s: float) -> None:
        self._keep_alive_s = keep_alive_s
        self._open: set[Line] = set()
        self._idle: dict[str, list[Line]] = {}  # the oldest first
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._open)

    def __repr__(self) -> str:
        return f"Pool({len(self._open)} open, {sum(map(len, self._idle.values()))} idle)"

    def get(self, origin: str) -> Line | None:
        lines = self._idle.get(origin)
        while lines:
            line = lines.pop()
            if line.alive:
                if line.idle_s < self._keep_alive_s:
                    return line
                line.abort()
        return None

    def put(self, line: Line) -> None:
        lines = self._idle.get(line.origin)
        if lines is None:
            lines = self._idle[line.origin] = []
        lines.append(line)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._keep_alive_s, self._close_old)

    def forget(self, origin: str) -> None:
        """Closes what waits there."""
        for line in self._idle.pop(origin, ()):
            line.abort()

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._idle.clear()
        for line in tuple(self._open):
            line.abort()

    # --- told by the lines

    def opened(self, line: Line) -> None:
        self._open.add(line)
        if self._closed:
            line.abort()

    def lost(self, line: Line) -> None:
        self._open.discard(line)

    def _close_old(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for origin, lines in tuple(self._idle.items()):
            for line in lines:
                if line.idle_since + self._keep_alive_s <= now:  # the sum that the timer was set to: it has no rest
                    line.abort()
            kept = [line for line in lines if line.alive]
            if kept:
                self._idle[origin] = kept
            else:
                del self._idle[origin]
        oldest = min((lines[0].idle_since for lines in self._idle.values()), default=None)
        if oldest is None:
            self._timer = None
        else:
            at = max(oldest + self._keep_alive_s, now + ROUND_LEAST_S)
            self._timer = loop.call_at(at, self._close_old)
