"""One connection to an upstream: a request out, a reply in, and whether it may serve again.

The event loop calls it, `transport` waits on it: it looks at `reply` and awaits `change` until there is something to
see. Bytes that nobody asked for would be read as the next caller's reply, so they end the connection; so does the
upstream's closing of its own side, a clean end where TLS does not show otherwise (RFC 9112 9.8). The socket is paused
while more waits to be read than a reader will need soon.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from array import array
from contextlib import suppress
from fcntl import ioctl
from termios import FIONREAD
from typing import Protocol

from proxy.providers.reply import Replies

PAUSE_BYTES = 128 * 1024  # a reader takes all there is, so reading goes on as soon as it comes
ONE_WRITE_BYTES_MAX = 64 * 1024  # larger bodies are not worth copying behind the head
# A peer that closes an idle connection while our request is on its way is noticed within a round trip. Later than this
# it had the request in hand, and asking again could be a second bill.
IDLE_CLOSE_RACE_S = 0.5


class Keeper(Protocol):
    """Whoever keeps connections between exchanges."""

    def opened(self, line: Line) -> None: ...

    def lost(self, line: Line) -> None: ...

    def put(self, line: Line) -> None: ...


class Line(asyncio.Protocol):
    __slots__ = (
        "_answered",
        "_asked_at",
        "_asking",
        "_keeper",
        "_loop",
        "_paused",
        "_transport",
        "_waiter",
        "alive",
        "exchanges",
        "idle_since",
        "origin",
        "reply",
    )

    def __init__(self, keeper: Keeper, origin: str, loop: asyncio.AbstractEventLoop) -> None:
        self.origin = origin
        self.alive = False  # connected, and nothing has spoilt it
        self.exchanges = 0
        self.idle_since = 0.0
        self.reply = Replies()
        self._keeper = keeper
        self._loop = loop
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[None] | None = None
        self._asking = False  # from the request until its reply was read to the end
        self._asked_at = 0.0
        self._answered = False  # with as much as a byte
        self._paused = False

    def __repr__(self) -> str:
        state = "asking" if self._asking else "idle"
        return f"Line({self.origin}, {state if self.alive else 'dead'}, {self.exchanges} exchanges)"

    # --- for who asks

    @property
    def idle_s(self) -> float:
        return self._loop.time() - self.idle_since

    def ask(self, head: bytes, body: bytes) -> None:
        self.exchanges += 1
        self._asking = True
        self._asked_at = self._loop.time()
        self._answered = False
        self.reply.expect()
        if len(body) <= ONE_WRITE_BYTES_MAX:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)

    def change(self) -> asyncio.Future[None]:
        """To be awaited, by one at a time: done when `reply` or `alive` may have changed."""
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def take(self) -> bytes:
        """What has come of the body."""
        if self._paused:
            self._paused = False
            if self.alive:
                self._transport.resume_reading()
        return self.reply.take()

    def release(self) -> int:
        """Called once for an exchange. A request still being written (the upstream answered early) spoils the line.
        Returns the bytes that had come and that nobody took."""
        reply = self.reply
        whole = reply.reusable and not reply.pieces
        if whole and self.alive and self._transport.get_write_buffer_size() == 0:
            self._asking = False
            self.idle_since = self._loop.time()
            self._keeper.put(self)
            return 0
        unread = reply.held + self._in_socket() if self.alive else reply.held
        self.abort()
        return unread

    def _in_socket(self) -> int:
        """Bytes in the system's buffer; none, where it cannot tell. Under TLS they are a little more than the text."""
        sock: socket.socket | None = self._transport.get_extra_info("socket")
        if sock is None:
            return 0
        count = array("i", [0])
        with suppress(OSError):
            ioctl(sock.fileno(), FIONREAD, count)
        return count[0]

    def abort(self) -> None:
        """Closes without waiting for bytes that nobody reads; who waits for some learns of it when it is closed."""
        if self.alive:
            self.alive = self._asking = False
            self._transport.abort()
            self.reply.cut()

    def closed_while_idle(self) -> bool:
        """Whether it broke before the request reached the upstream, as far as this side can know."""
        in_time = self._loop.time() - self._asked_at <= IDLE_CLOSE_RACE_S
        return self.exchanges > 1 and not self._answered and in_time

    # --- for the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP only
        self._transport = transport
        self.alive = True
        self._keeper.opened(self)

    def data_received(self, data: bytes) -> None:
        if not self._asking:
            self.abort()
            return
        self._answered = True
        reply = self.reply
        reply.feed(data)
        if reply.fault:
            self.abort()
        elif reply.held > PAUSE_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        if self._announced():
            self.reply.end()
        self.abort()  # a mere close would first wait until all of the request is written

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        self.reply.cut()
        self.reply.close()
        self._keeper.lost(self)
        self._wake()

    def _announced(self) -> bool:
        """Whether the upstream itself has ended its side. Anyone on the way can end a TCP connection under TLS, and
        event loops call that an end too: only a session that was told so reads b"" now."""
        session: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        try:
            return session is None or not session.read(1)
        except ssl.SSLError:
            return False

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
