"""What a process does with the words of calls whose agents have a content policy: they wait in a bounded queue for one
thread, which redacts and writes them.

Nobody waits for it, and no call fails because of it: what does not fit, or what the disk does not take, is lost and
counted. Until the first such call there is no thread and no file. Which calls it is asked about, and for how long files
are kept, is decided elsewhere.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import json

from proxy.content.heard import ROOM, Heard, Keeping, Room, Then
from proxy.content.masks import Optional
from proxy.content.messages import attributes
from proxy.content.scribe import Scribe
from proxy.content.segments import Writer, load_key
from proxy.dialects.base import Dialect
from proxy.gatherer import Gatherer
from proxy.types import Call

WAITING_MAX: Final = 4_096  # calls
GATHER_S: Final = 0.05


class Keeper:
    """`wall` tells the seconds since 1970, in any thread; `report` is told, in any thread, when the disk failed."""

    def __init__(
        self, folder: Path, process: str, *, dialect: Dialect, wall: Callable[[], float], report: Callable[[str], None]
    ) -> None:
        self.dropped = 0  # by the loop's thread
        self._lost = 0  # by the writer's
        self._folder = folder
        self._dialect = dialect
        self._wall = wall
        self._report = report
        self._writer = Writer(folder, process)
        self._optional: tuple[Optional, ...] = ()
        self._scribe: Scribe | None = None
        self._room = Room()
        self._running: dict[str, Heard] = {}
        self._waiting: deque[Heard] = deque()
        self._failing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gatherer = Gatherer("content", GATHER_S, drain=self._drain, end=self._writer.close)

    def __repr__(self) -> str:
        return f"Keeper({len(self._waiting)} waiting, {self._room!r}, {self.lost} lost)"

    @property
    def lost(self) -> int:
        """Calls whose words should have been kept and were not."""
        return self.dropped + self._lost

    def use(self, optional: Collection[Optional]) -> None:
        """What else is masked, from now on."""
        self._optional, self._scribe = tuple(optional), None

    # --- of a call ----------------------------------------------------------------------------------------------------

    def begin(self, call: Call, keeping: Keeping, *, headers: dict[str, str], presented: tuple[str, ...]) -> Heard:
        """Where its words go as they pass; `end` it."""
        heard = self._running[call.id] = Heard(call, keeping, self._room, headers=headers, presented=presented)
        return heard

    def end(self, heard: Heard) -> None:
        """Does not wait."""
        self._running.pop(heard.call.id, None)
        if self._gatherer.closed or len(self._waiting) >= WAITING_MAX or self._room.held > ROOM:
            self.dropped += 1
            self._room.taken -= heard.held
            if heard.then is not None:
                heard.then({})
            return
        self._waiting.append(heard)
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._gatherer.wake()

    def tell(self, id: str, then: Then) -> bool:
        """Whether the words of a call that runs may be told as they are: then they will be, once it has ended."""
        heard = self._running.get(id)
        if heard is None or heard.keeping.policy != "full":
            return False
        heard.then = then
        return True

    def close(self) -> None:
        """Writes what waits, for a few seconds at most."""
        self._gatherer.close()

    # --- the writer's thread ------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        while self._waiting:
            heard = self._waiting.popleft()
            try:
                self._write_down(heard, self._present_scribe())
                self._failing = False
            except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
                self._fail(error)
            finally:
                self._room.given_back += heard.held

    def _write_down(self, heard: Heard, scribe: Scribe) -> None:
        if heard.then is not None and self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended before this
                self._loop.call_soon_threadsafe(heard.then, attributes(*scribe.said(heard)))
        self._writer.write(json.encode(scribe.entry(heard)) + b"\n", self._wall())

    def _present_scribe(self) -> Scribe:
        """Raises OSError."""
        scribe = self._scribe
        if scribe is None:
            scribe = self._scribe = Scribe(load_key(self._folder), self._dialect, self._optional)
        return scribe

    def _fail(self, error: Exception) -> None:
        """Told once until it works again: each call would say the same. An error of the text may quote it."""
        self._lost += 1
        self._writer.close()
        if not self._failing:
            self._failing = True
            self._report(f"{type(error).__name__} {error.strerror}" if isinstance(error, OSError) else "no text")
