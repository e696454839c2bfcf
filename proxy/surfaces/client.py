"""The client's half of a call: its reply, written straight to the connection in as few writes as it can be."""

from __future__ import annotations

import asyncio
import sys

from proxy.execution.flight import Flight
from proxy.surfaces import wire
from proxy.surfaces.connection import Connection
from proxy.surfaces.request import Request
from proxy.surfaces.wire import Headers

GLANCE_S = 0.1  # how often a reply that is taken slowly is looked at
PART = 128 * 1024  # bytes of a whole reply that are written in one go: a megabyte would take the loop a millisecond
HEARTBEAT = b": keep-alive\n\n"
BODILESS = frozenset({204, 304})


class Client:
    """The downstream of one call."""

    def __init__(self, request: Request, connection: Connection, write_timeout_s: float) -> None:
        self.deadline: float | None = None  # of the call, once it is known
        self.keep_alive = request.keep_alive
        self._request = request
        self._connection = connection
        self._write_timeout_s = write_timeout_s
        self._chunked = request.chunks
        self._flight: Flight | None = None  # others want the stream too
        self._held = b""  # the head of a stream waits for its first bytes: one write for both

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        if not self._request.body.complete:
            self.keep_alive = False  # what is left of the request's body is not worth reading
        head = self._head(status, headers, "" if status in BODILESS else f"Content-Length: {len(body)}")
        if self._request.method == "HEAD":
            body = b""
        self._connection.write(head + body[:PART])
        for first in range(PART, len(body), PART):
            await asyncio.sleep(0)
            self._connection.write(body[first : first + PART])
        if self._connection.writing_paused:
            await self._taken()

    async def start(self, status: int, headers: Headers) -> None:
        headers = [*headers, ("Cache-Control", "no-cache"), ("X-Accel-Buffering", "no")]
        self.keep_alive = self.keep_alive and self._chunked
        self._held = self._head(status, headers, "Transfer-Encoding: chunked" if self._chunked else "")

    async def write(self, data: bytes) -> None:
        flight = self._flight
        if flight is not None:  # `flight.keep`, without the call: this is done for each chunk of each stream
            flight.pieces.append(data)
            flight.size += len(data)
            if flight.size > flight.room or flight.waiting:
                flight.written()
        if self._chunked:
            data = wire.chunk(data)
        if self._held:
            data, self._held = self._held + data, b""
        self._connection.write(data)
        if self._connection.writing_paused:
            await self._connection.drain()

    async def end(self) -> None:
        if self._chunked or self._held:
            self._connection.write(self._held + (wire.LAST_CHUNK if self._chunked else b""))
        if self._flight is not None:
            self._flight.end()

    def heartbeat(self) -> None:
        connection = self._connection
        if not connection.transport.is_closing() and not connection.writing_paused:
            connection.write(wire.chunk(HEARTBEAT) if self._chunked else HEARTBEAT)

    def abort(self) -> None:
        """Closes without the last chunk, so that the client sees a cut: after what was written has gone out, or at once
        if the client does not read."""
        if self._connection.writing_paused or not self._chunked:
            self._connection.reset()  # before HTTP/1.1 only a reset tells a cut from an end
        else:
            self._connection.close()

    # --- for those who join: see `flight.Sharing` --------------------------------------------------------------------

    @property
    def left(self) -> bool:
        return self._connection.left

    def share(self, flight: Flight | None) -> None:
        self._flight = flight

    def stay(self) -> None:
        self._connection.stay()

    def go(self) -> None:
        self._connection.go()

    async def _taken(self) -> None:
        """A whole reply waits in memory until the client has taken it; that must not be for ever."""
        loop, transport, least = asyncio.get_running_loop(), self._connection.transport, sys.maxsize
        moved_at = loop.time()
        while self._connection.writing_paused:  # ends: with progress, by the write limit, or at the deadline
            waiting, now = transport.get_write_buffer_size(), loop.time()
            if waiting < least:
                least, moved_at = waiting, now
            late = self.deadline is not None and now >= self.deadline
            if late or now - moved_at >= self._write_timeout_s:
                raise ConnectionResetError("the client read too slowly")
            await asyncio.sleep(GLANCE_S)

    def _head(self, status: int, headers: Headers, framing: str) -> bytes:
        self.keep_alive = self.keep_alive and not self._connection.closing
        return wire.head(status, headers, framing=framing, keep_alive=self.keep_alive, chunks=self._chunked)
