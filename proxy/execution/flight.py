"""A call that runs, as others see it who ask for the same thing and join it (a "single flight").

A `Flight` keeps what was written of a stream, from its first byte, for those who come later; references only, and not
for ever: when a reply is too long, or all of them together are, nobody joins it any more. Who has joined never holds
the upstream up, but loses its place when the part that it has not read yet is given away. Which calls may join, and
what they are told, is not decided here.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from msgspec import Struct

from policies.cache_rules import Wanted
from proxy.dialects.base import Passage
from proxy.errors import ProxyError
from proxy.types import Call, Endpoint, Plan, Target

KEPT_MAX: Final = 1024 * 1024  # bytes of one reply
ROOM_LEAST: Final = 16 * 1024
STEP: Final = 64 * 1024  # bytes after which the oldest are given away again

Place = tuple[str, str, str | None, str | None, Endpoint, str, int]


class Register(Protocol):
    """Where those look who would join: see `flights.Flights`."""

    kept_max: int  # bytes of all streams

    def remove(self, flight: Flight, place: Place) -> None: ...
    def grant(self, size: int) -> bool: ...


class Sharing(Protocol):
    """What the client of a joined call has to bear."""

    @property
    def left(self) -> bool:
        """It has left, and the call went on for others."""
        ...

    def share(self, flight: Flight | None) -> None:
        """What is written from now on is kept by `flight` as well."""
        ...

    def stay(self) -> None:
        """Others want the reply too: until `go`, neither leaving nor reading slowly ends the call or holds it up."""
        ...

    def go(self) -> None:
        """Nobody else wants it any more: if the client has left, the call is cancelled now."""
        ...


class Answered(Protocol):
    """The attempt whose reply it is."""

    @property
    def target(self) -> Target: ...

    @property
    def clamped_to(self) -> int | None: ...


class Replied(Protocol):
    """What is known of a reply beside its bytes; `first` is all of one that does not stream."""

    first: bytes

    @property
    def passage(self) -> Passage | None: ...

    @property
    def content_type(self) -> str: ...

    @property
    def headers(self) -> tuple[tuple[str, str], ...]: ...


Answer = tuple[Answered, Replied]


class Flight(Struct, eq=False):
    """`pieces` are those that were written, less the first `dropped`."""

    _flights: Register
    call: Call
    _client: Sharing
    _place: Place
    wanted: Wanted | None = None  # the entries that it will fill
    open: bool = True  # to those who would join
    joined: bool = False  # somebody has, at some time
    plan: Plan | None = None
    answer: Answer | None = None  # once it is known what the client gets
    known: bool = False  # it was answered from memory
    streams: bool = False  # the answer, piece by piece
    whole: bool = False  # all of the answer is here
    error: ProxyError | None = None  # instead of it, or of the rest
    closed: bool = False  # nothing will follow, whatever is missing
    pieces: list[bytes] = []
    dropped: int = 0
    size: int = 0  # bytes of all pieces, dropped ones included
    room: int = 0  # bytes after which `written` is to be told
    _followers: int = 0
    _granted: int = 0  # bytes of what all replies together may keep
    waiting: list[asyncio.Future[None]] = []  # for the next piece

    def __repr__(self) -> str:
        state = "whole" if self.whole else "failed" if self.error else "closed" if self.closed else "running"
        return f"Flight({self.call.id}, {state}, {self._followers} joined, {self.size} bytes)"

    @property
    def text(self) -> bytes | None:
        """All that was written of a stream; None: it was too long to be kept."""
        written = b"".join(self.pieces)
        return written if len(written) == self.size else None

    # --- the call's side ---------------------------------------------------------------------------------------------

    def land(self, answer: Answer, plan: Plan | None, *, known: bool = False) -> None:
        """The whole reply is in hand. `known`: from memory; nobody else joins, who may want another one or none."""
        self.answer, self.plan, self.whole, self.known = answer, plan, True, known
        if known and self.open:
            self._shut()
        if self.waiting:
            self._wake()

    def take_off(self, answer: Answer, plan: Plan | None, kept_max: int) -> None:
        """A stream begins. `kept_max`: bytes of all streams that may be kept."""
        self.answer, self.plan, self.streams = answer, plan, True
        self._flights.kept_max = kept_max
        self._client.share(self)
        self._make_room()

    def keep(self, data: bytes) -> None:
        """For writers in no hurry; the client's own is written out where it writes."""
        self.pieces.append(data)
        self.size += len(data)
        if self.size > self.room or self.waiting:
            self.written()

    def written(self) -> None:
        """A piece has been added, and somebody waits for it, or there is no more room."""
        if self.size > self.room:
            self._make_room()
        if self.waiting:
            self._wake()

    def end(self) -> None:
        """All of the stream has been written."""
        self.whole = True
        if self.waiting:
            self._wake()

    def fail(self, error: ProxyError) -> None:
        """The call ends with an error, and so do those that have joined it."""
        if not self.whole:
            self.error = error
            self._client.share(None)  # what the client is told of it is not for others
        self.close()

    def close(self) -> None:
        """The call is over. The second time: nothing."""
        self.closed = True
        if self.open:
            self._shut()
        if self._granted:
            self._give_back()
        if self.waiting:
            self._wake()

    # --- the side of those who join ----------------------------------------------------------------------------------

    def join(self) -> None:
        self._followers += 1
        self.joined = True
        if self._followers == 1:
            self._client.stay()

    def leave(self) -> None:
        self._followers -= 1
        if self._followers or self.closed:
            return
        if not self.open:
            self._forget()  # it was kept for those alone who had joined already
        self._client.go()

    def news(self) -> asyncio.Future[None]:
        """Done when something has changed. Each caller has its own: a cancellation must not reach the others."""
        waiting = asyncio.get_running_loop().create_future()
        self.waiting.append(waiting)
        return waiting

    def _wake(self) -> None:
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)

    # --- what is kept ------------------------------------------------------------------------------------------------

    def _make_room(self) -> None:
        """Twice as much each time. Where that is too much, only for those who have joined already."""
        room = max(2 * self.room, self.size, ROOM_LEAST)
        if self.open and self.size <= KEPT_MAX and self._flights.grant(room - self._granted):
            self.room = self._granted = room
            return
        if self.open:
            self._shut()
        if self._followers:
            self._drop()
            self.room = self.size + STEP
        else:
            self._forget()

    def _shut(self) -> None:
        self.open = False
        self._flights.remove(self, self._place)

    def _drop(self) -> None:
        """The oldest pieces: whoever has not read them yet has lost its place."""
        kept, count = sum(map(len, self.pieces)), 0
        while kept > KEPT_MAX and count < len(self.pieces) - 1:  # the newest nobody has had the time to read
            kept -= len(self.pieces[count])
            count += 1
        del self.pieces[:count]
        self.dropped += count

    def _forget(self) -> None:
        self._client.share(None)
        self.pieces.clear()
        self._give_back()

    def _give_back(self) -> None:
        self._flights.grant(-self._granted)
        self._granted = 0
