"""The data listener's side of HTTP/1.1: connections that may not dawdle, errors as JSON, and the client's half of a
call.

aiohttp parses and frames; what it leaves open is closed here: the time a head may take, the size of the send buffer,
one answer for malformed requests in the form that clients expect, and nothing kept open after a parse error.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from msgspec import Struct

from proxy.errors import ProxyError
from proxy.surfaces import wire
from proxy.surfaces.wire import Headers

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

SEND_BUFFER = 128 * 1024
GLANCE_S = 0.1  # how often a reply that is taken slowly is looked at
HEARTBEAT = b": keep-alive\n\n"


class Edges(Struct, frozen=True):
    """Bounds of one connection. Seconds and bytes."""

    head_timeout_s: float = 10.0
    keepalive_s: float = 75.0
    head_bytes_max: int = 16 * 1024
    headers_max: int = 64
    connections_max: int = 20_000


class Connection(web.RequestHandler):
    """One client connection: its head must be in within `head_timeout_s` of its first byte, or of connecting."""

    def __init__(self, server: Server, edges: Edges, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=edges.keepalive_s,
            tcp_keepalive=True,
            access_log=None,  # type: ignore[arg-type]  # aiohttp takes None for "no access log"
            max_line_size=edges.head_bytes_max,
            max_field_size=edges.head_bytes_max,
            max_headers=edges.headers_max,
            lingering_time=0,
            auto_decompress=False,
        )
        self._edges = edges
        self._server = server
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._server.is_full():
            self.force_close()
            return
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_timer is None and not self._messages and not self._request_in_progress:
            self._expect_head()  # a head has begun and is not whole: most come in one piece and need no timer

    def connection_lost(self, exc: BaseException | None) -> None:
        self.head_arrived()
        super().connection_lost(exc)

    def head_arrived(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _expect_head(self) -> None:
        self._head_timer = self._loop.call_later(self._edges.head_timeout_s, self._head_overdue)

    def _head_overdue(self) -> None:
        self._head_timer = None
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A request that could not be parsed: a JSON error, then a closed connection."""
        error = _malformed(status, exc)
        body = msgspec.json.encode(
            {"error": {"message": error.message, "type": error.openai_type, "param": None, "code": error.code}}
        )
        headers = {"Server": wire.SERVER, "x-request-id": self._server.new_id(), "Content-Type": "application/json"}
        response = web.Response(status=error.status, body=body, headers=headers)
        response.force_close()
        return response


def _malformed(status: int, exc: BaseException | None) -> ProxyError:
    if isinstance(exc, LineTooLong):
        return ProxyError("headers_too_large", "The head of the request is larger than this gate reads.")
    if status == 400:
        return ProxyError("invalid_request", "The request is not valid HTTP/1.1.")
    return ProxyError("internal", "The gate failed on this request; it was logged.")


class Server(web.Server):
    """Makes `Connection`s; refuses more than `connections_max` at once. `new_id` names replies that are no call's."""

    def __init__(self, handler: Handler, edges: Edges, new_id: Callable[[], str]) -> None:
        super().__init__(handler, handler_cancellation=True)
        self.new_id = new_id
        self.refused = 0
        self._edges = edges

    def __call__(self) -> web.RequestHandler:
        return Connection(self, self._edges, asyncio.get_running_loop())

    def is_full(self) -> bool:
        if len(self.connections) <= self._edges.connections_max:
            return False
        self.refused += 1
        return True


class Sent(web.StreamResponse):
    """What aiohttp is handed when a handler ends whose reply has gone out already: nothing is left to do."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._keep_alive = keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        return

    async def write_eof(self, data: bytes = b"") -> None:
        return


class Client:
    """The downstream of one call: its reply is written straight to the connection, in as few writes as it can be."""

    def __init__(self, request: web.BaseRequest, write_timeout_s: float) -> None:
        self.deadline: float | None = None  # of the call, once it is known
        self._write_timeout_s = write_timeout_s
        self.keep_alive = request.keep_alive
        self._request = request
        self._chunked = request.version >= (1, 1)
        self._held = b""  # the head of a stream waits for its first bytes: one write for both
        protocol = request.protocol
        assert protocol is not None  # aiohttp makes a request only from a connection
        self._connection = protocol

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        if not self._request.content.is_eof():
            self.keep_alive = False  # what is left of the request's body is not worth reading
        head = self._head(status, headers, f"Content-Length: {len(body)}")
        self._send(head if self._request.method == "HEAD" else head + body)
        if self._connection.writing_paused:
            await self._drained()

    async def start(self, status: int, headers: Headers) -> None:
        headers = [*headers, ("Cache-Control", "no-cache"), ("X-Accel-Buffering", "no")]
        self.keep_alive = self.keep_alive and self._chunked
        self._held = self._head(status, headers, "Transfer-Encoding: chunked" if self._chunked else "")

    async def write(self, data: bytes) -> None:
        if self._chunked:
            data = wire.chunk(data)
        if self._held:
            data, self._held = self._held + data, b""
        self._send(data)
        if self._connection.writing_paused:
            await self._connection._drain_helper()

    async def end(self) -> None:
        if self._chunked or self._held:
            self._send(self._held + (wire.LAST_CHUNK if self._chunked else b""))

    def heartbeat(self) -> None:
        transport = self._connection.transport
        if transport is not None and not transport.is_closing() and not self._connection.writing_paused:
            transport.write(wire.chunk(HEARTBEAT) if self._chunked else HEARTBEAT)

    def abort(self) -> None:
        """Closes without the last chunk, so that the client sees a cut: after what was written has gone out, or at once
        if the client does not read."""
        transport = self._connection.transport
        if transport is not None and (self._connection.writing_paused or not self._chunked):
            transport.abort()  # before HTTP/1.1 only a reset tells a cut from an end
        self._connection.force_close()

    async def _drained(self) -> None:
        """A whole reply waits in memory until the client has taken it; that must not be for ever."""
        loop, least = asyncio.get_running_loop(), sys.maxsize
        moved_at = loop.time()
        while self._connection.writing_paused:  # ends: with progress, by the write limit, or at the deadline
            transport, now = self._connection.transport, loop.time()
            waiting = 0 if transport is None else transport.get_write_buffer_size()
            if waiting < least:
                least, moved_at = waiting, now
            late = self.deadline is not None and now >= self.deadline
            if late or now - moved_at >= self._write_timeout_s:
                raise ConnectionResetError("the client read too slowly")
            await asyncio.sleep(GLANCE_S)

    def _head(self, status: int, headers: Headers, framing: str) -> bytes:
        return wire.head(status, headers, framing=framing, keep_alive=self.keep_alive, chunks=self._chunked)

    def _send(self, data: bytes) -> None:
        transport = self._connection.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        transport.write(data)
