"""The live feed as an event stream (WHATWG HTML, 9.2): numbered once, encoded once, the same bytes for every viewer.

A ring of the latest messages lets a viewer that was cut off go on with `Last-Event-ID`; one that has missed more, or
comes from before a restart, gets a snapshot instead. A viewer that reads slowly loses its oldest messages and is told
how many; nobody waits for it. What the messages say is decided by whoever publishes them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from proxy.errors import ProxyError

VIEWERS_MAX: Final = 50
RING: Final = 120  # messages, for one who was cut off: two minutes; when nobody has looked for so long, none is made
WAITING_MAX: Final = 100  # messages before a viewer that does not read
HEARTBEAT_S: Final = 10.0
HEARTBEAT: Final = b": heartbeat\n\n"


class Dropped(Struct, frozen=True):
    """So many messages did not fit before a viewer. Rows are absolute, so only events are lost for good."""

    messages: int


class Viewer:
    """One reader of the feed, until `close`."""

    def __init__(self, feed: Feed, begin: bytes) -> None:
        self._feed = feed
        self._waiting: deque[bytes] = deque([begin] if begin else [])
        self._wake = asyncio.Event()
        if begin:
            self._wake.set()
        self._dropped = 0
        self._ended = False

    def __repr__(self) -> str:
        return f"Viewer({len(self._waiting)} waiting, {self._dropped} dropped)"

    def put(self, frame: bytes) -> None:
        if len(self._waiting) >= WAITING_MAX:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append(frame)
        self._wake.set()

    async def take(self) -> bytes:
        """All that waits, or a heartbeat when nothing has come for long. Nothing at all: the feed has ended."""
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                await self._wake.wait()
        except TimeoutError:
            return HEARTBEAT
        notice = frame("dropped", Dropped(self._dropped)) if self._dropped else b""
        data = notice + b"".join(self._waiting)
        self._waiting.clear()
        self._dropped = 0
        if not self._ended:
            self._wake.clear()
        return data

    def end(self) -> None:
        self._ended = True
        self._wake.set()

    def close(self) -> None:
        self._feed.left(self)


class Feed:
    """`epoch` tells this process's numbers from those before a restart; a new viewer begins with a `snapshot`."""

    def __init__(self, epoch: str, snapshot: Callable[[], Struct]) -> None:
        self._epoch = epoch
        self._snapshot = snapshot
        self._number = 0
        self._ring: deque[bytes] = deque(maxlen=RING)
        self._viewers: set[Viewer] = set()
        self._unseen = RING  # messages since somebody looked; nobody has
        self._closed = False

    def __repr__(self) -> str:
        return f"Feed({self._number} messages, {len(self._viewers)} viewers)"

    def publish(self, kind: str, message: Struct) -> None:
        self._number += 1
        self._unseen = 0 if self._viewers else self._unseen + 1
        if self._unseen > RING:
            self._ring.clear()
            return
        made = frame(kind, message, id=f"{self._epoch}-{self._number}")
        self._ring.append(made)
        for viewer in self._viewers:
            viewer.put(made)

    def view(self, last_id: str | None = None) -> Viewer:
        """`last_id`: of the last message that this viewer has. Raises ProxyError."""
        if len(self._viewers) >= VIEWERS_MAX:
            raise ProxyError("overloaded", f"{VIEWERS_MAX} viewers look at the live feed already")
        missed = self._missed(last_id)
        begin = frame("snapshot", self._snapshot(), id=f"{self._epoch}-{self._number}") if missed is None else missed
        viewer = Viewer(self, begin)
        self._viewers.add(viewer)
        if self._closed:
            viewer.end()
        return viewer

    def _missed(self, last_id: str | None) -> bytes | None:
        """What came after; None: the ring does not reach back so far, or the number is not one of ours."""
        epoch, _, digits = (last_id or "").rpartition("-")
        if epoch != self._epoch or not (digits.isascii() and digits.isdecimal() and len(digits) < 16):
            return None
        behind = self._number - int(digits)
        if not 0 <= behind <= len(self._ring):
            return None
        return b"".join([self._ring[index] for index in range(len(self._ring) - behind, len(self._ring))])

    def left(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)

    def close(self) -> None:
        """Every viewer gets what waits for it and an end."""
        self._closed = True
        for viewer in tuple(self._viewers):
            viewer.end()


def frame(kind: str, message: Struct, *, id: str | None = None) -> bytes:
    """JSON has no line breaks, so one `data` line holds it."""
    head = f"id: {id}\nevent: {kind}\ndata: " if id else f"event: {kind}\ndata: "
    return head.encode() + msgspec.json.encode(message) + b"\n\n"
