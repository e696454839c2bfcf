"""The words of one call while it runs, as far as they may be kept: references, no copies, and no more than there is
room for.

What of them is written down, and in which form, is `scribe`'s business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from proxy.types import Call, ContentPolicy

REPLY_MAX: Final = 4 * 1024 * 1024  # bytes of one reply; of a longer one nothing but its length is kept
ROOM: Final = 64 * 1024 * 1024  # bytes of all calls that run or wait to be written down


Then = Callable[[dict[str, str]], None]


class Keeping(Struct, frozen=True):
    """What may be kept of a call."""

    policy: ContentPolicy
    request: bool = True
    reply: bool = True


class Room:
    """Each of the two is written by one thread alone."""

    __slots__ = ("given_back", "taken")

    def __init__(self) -> None:
        self.taken = 0
        self.given_back = 0

    def __repr__(self) -> str:
        return f"Room({self.held} bytes)"

    @property
    def held(self) -> int:
        return self.taken - self.given_back


class Heard:
    """`headers`: of the request, those on the allow-list. `presented`: credentials that came with it, to be looked for
    in what it says."""

    __slots__ = (
        *("_room", "call", "complete", "content_type", "headers", "held", "keeping", "pieces", "presented"),
        *("size", "status", "then"),
    )

    def __init__(
        self, call: Call, keeping: Keeping, room: Room, *, headers: dict[str, str], presented: tuple[str, ...]
    ) -> None:
        self.call = call
        self.keeping = keeping
        self.headers = headers
        self.presented = presented
        self.pieces: list[bytes] | None = []  # of the reply; None: it is too long
        self.size = 0  # of the reply, bytes
        self.status = 0
        self.content_type = ""
        self.complete = False
        self.then: Then | None = None  # wants the words as attributes of a span, once the call has ended
        self.held = len(call.raw)
        self._room = room
        room.taken += self.held

    def __repr__(self) -> str:
        """Without the words."""
        return f"Heard({self.call.id}, {self.keeping.policy}, {self.size} bytes)"

    @property
    def body(self) -> bytes | None:
        """The reply, as far as it went out. None: it is too long."""
        return None if self.pieces is None else b"".join(self.pieces)

    def add(self, data: bytes) -> None:
        self.size += len(data)
        if self.pieces is None or not self.keeping.reply:
            return
        if self.size > REPLY_MAX or self._room.held > ROOM:
            self.pieces = None
            return
        self.pieces.append(data)
        self.held += len(data)
        self._room.taken += len(data)
