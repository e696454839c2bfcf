"""One connection to an upstream, and the pool that keeps it: aiohttp's, with what it lacks.

aiohttp brings DNS, TLS, racing addresses and the response parser. A `Line` adds what only the connection can know: that
bytes came which nobody asked for, that nothing at all came back, that a body broke. It decides whether the connection
may serve again and whether it died while idle; what follows from that is `transport`'s business. aiohttp does not
document a connection's `protocol`: the tests of this file pin what is used of it.
"""

from __future__ import annotations

import asyncio
import ssl

from aiohttp import ClientPayloadError
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import TCPConnector
from aiohttp.helpers import _EXC_SENTINEL

HEADER_LINES_MAX = 128
HEADER_LINE_BYTES_MAX = 8190  # times the lines: a head of at most 1 MiB
READ_BYTES = 64 * 1024  # the socket is paused when twice this waits to be read
ONE_WRITE_BYTES_MAX = 64 * 1024  # larger bodies are not worth copying behind the head
# A peer that closes an idle connection while our request is on its way is noticed within a round trip. Later than this
# it had the request in hand, and asking again could be a second bill.
IDLE_CLOSE_RACE_S = 0.5


class Line(ResponseHandler):
    def __init__(self, loop: asyncio.AbstractEventLoop, pool: Pool) -> None:
        super().__init__(loop)
        self._pool = pool
        self._asking = False  # from the request to the end of its reply
        self._asked_at = 0.0
        self._answered = False  # with as much as a byte
        self.exchanges = 0

    def ask(self, head: bytes, body: bytes) -> None:
        self.set_response_params(
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=READ_BYTES,
            max_line_size=HEADER_LINE_BYTES_MAX,
            max_field_size=HEADER_LINE_BYTES_MAX,
            max_headers=HEADER_LINES_MAX,
        )
        self.exchanges += 1
        self._asking = True
        self._asked_at = self._loop.time()
        self._answered = False
        assert self.transport is not None  # it was connected a moment ago and nothing has awaited since
        if len(body) <= ONE_WRITE_BYTES_MAX:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self.transport.write(body)

    def reusable(self) -> bool:
        """Called at the end of a reply. A request still being written (the upstream answered early) spoils the line."""
        self._asking = False
        return self.transport is not None and self.transport.get_write_buffer_size() == 0

    def closed_while_idle(self) -> bool:
        """Whether it broke before the request reached the upstream, as far as this side can know."""
        in_time = self._loop.time() - self._asked_at <= IDLE_CLOSE_RACE_S
        return self.exchanges > 1 and not self._answered and in_time

    def data_received(self, data: bytes) -> None:
        self._answered = True
        if not self._asking:
            self.force_close()  # bytes that nobody asked for would be read as the next caller's reply
        super().data_received(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._pool.open_connections += 1
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._pool.open_connections -= 1
        if exc is not None:
            self._break_body()  # before aiohttp takes the reset of a body without length for its end
        super().connection_lost(exc)

    def set_exception(self, exc: BaseException, exc_cause: BaseException = _EXC_SENTINEL) -> None:
        super().set_exception(exc, exc_cause)
        self._break_body()  # aiohttp leaves the reader of a body with a bad chunk waiting for ever

    def _break_body(self) -> None:
        if self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(ClientPayloadError())


class Pool(TCPConnector):
    """Unbounded: how many calls an upstream gets at once is decided by permits, not here."""

    open_connections = 0

    def __init__(
        self, *, keep_alive_s: float, tls: ssl.SSLContext | None = None, resolver: AbstractResolver | None = None
    ) -> None:
        super().__init__(limit=0, keepalive_timeout=keep_alive_s, ssl=True if tls is None else tls, resolver=resolver)
        self._factory = self._line  # type: ignore[assignment]  # declared as the partial that aiohttp sets

    def _line(self) -> Line:
        return Line(self._loop, self)
