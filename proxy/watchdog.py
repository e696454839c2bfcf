"""The watchdog of a process: says where an event loop stands that does not run, and ends the process if it stays so.

A thread counts its own ticks and the loop sets them back. So a process that was stopped, or slept with its machine, is
not taken for one that hangs: its watchdog slept, too. What it cannot see is a call into C that keeps the interpreter
to itself; in a worker the supervisor does. Nothing but file, line and function of a frame is written, never a value.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Final

from proxy.telemetry.log import Field, Level

TICK_S: Final = 0.5
BLOCKED_TICKS: Final = 4
END_TICKS: Final = 60
THREADS_MAX: Final = 16
FRAMES_MAX: Final = 16  # the innermost
END_CODE: Final = 70  # EX_SOFTWARE of sysexits.h: a service manager takes it for a failure and starts it again

Tell = Callable[[str, Level, Mapping[str, Field]], None]


def end_process() -> None:
    """At once: what runs is in the journal, and a loop that hangs could not end it in order anyhow."""
    os._exit(END_CODE)


class Watchdog:
    """Made on the loop that it watches. `blocked` counts; both it and `tell` are called from the watchdog's thread."""

    def __init__(self, tell: Tell, blocked: Callable[[], None], end: Callable[[], None] = end_process) -> None:
        self._tell = tell
        self._blocked = blocked
        self._end = end
        self._ticks = 0
        self._loop = asyncio.get_running_loop()
        self._looped = threading.get_ident()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __repr__(self) -> str:
        return f"Watchdog({self._ticks} ticks)"

    def start(self) -> None:
        self._beat()
        self._thread.start()

    def close(self) -> None:
        """For good."""
        self._closing.set()
        self._thread.join()
        self._beating.cancel()

    def tick(self) -> None:
        self._ticks += 1
        if self._ticks == BLOCKED_TICKS:
            self._blocked()
            self._dump("event loop blocked")
        elif self._ticks == END_TICKS - 1:  # a tick before the end, so that the log has the time to write it
            self._dump("ended by the watchdog")
        elif self._ticks >= END_TICKS:
            self._end()

    def _beat(self) -> None:
        self._ticks = 0
        self._beating = self._loop.call_later(TICK_S, self._beat)

    def _watch(self) -> None:
        while not self._closing.wait(TICK_S):
            self.tick()

    def _dump(self, event: str) -> None:
        """One event for each thread, that of the loop first: who waits for a lock hangs where another one holds it."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        frames = sorted(sys._current_frames().items(), key=lambda item: item[0] != self._looped)
        for id, frame in frames[:THREADS_MAX]:
            if id != self._thread.ident:
                name = names.get(id, "unknown")
                self._tell(event, "error", {"seconds": self._ticks * TICK_S, "thread": name, "at": _places(frame)})


def _places(frame: FrameType | None) -> str:
    """File, line and function; the outermost first."""
    places: deque[str] = deque()
    while frame is not None and len(places) < FRAMES_MAX:
        file = "/".join(frame.f_code.co_filename.split("/")[-2:])
        places.appendleft(f"{file}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return " > ".join(places)
