"""The data listener's side of HTTP/1.1: connections that may not dawdle, errors as JSON, and the client's half of a
call.

aiohttp parses and frames; what it leaves open is closed here: the time a head may take, the size of the send buffer,
one answer for malformed requests in the form that clients expect, and nothing kept open after a parse error.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from msgspec import Struct
from multidict import CIMultiDict

from proxy.relay import Headers

SEND_BUFFER = 128 * 1024
SERVER = ("Server", "headgate")
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
        if self._head_timer is None and not self._request_in_progress:
            self._expect_head()
        super().data_received(data)

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
        said = "The request is not valid HTTP/1.1." if status == 400 else "The gate failed on this request."
        response = web.Response(status=status, body=error_body(said), content_type="application/json")
        response.force_close()
        return response


class Server(web.Server):
    """Makes `Connection`s; refuses more than `connections_max` at once."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], edges: Edges) -> None:
        super().__init__(handler, handler_cancellation=True)
        self._edges = edges
        self.refused = 0

    def __call__(self) -> web.RequestHandler:
        return Connection(self, self._edges, asyncio.get_running_loop())

    def is_full(self) -> bool:
        if len(self.connections) <= self._edges.connections_max:
            return False
        self.refused += 1
        return True


def error_body(message: str, code: str | None = "invalid_request") -> bytes:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return msgspec.json.encode({"error": error})


class Client:
    """The downstream of one call, over aiohttp; `response` is what the handler returns in the end."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self.response: web.StreamResponse | None = None

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        response = web.Response(status=status, headers=CIMultiDict((*headers, SERVER)), body=body)
        self.response = response
        if status in (400, 408, 413) and not self._request.content.is_eof():
            response.force_close()  # what is left of the body is not worth reading
        await response.prepare(self._request)
        await response.write_eof()

    async def start(self, status: int, headers: Headers) -> None:
        response = web.StreamResponse(status=status, headers=CIMultiDict((*headers, SERVER)))
        response.headers["Cache-Control"] = "no-cache"
        response.headers["X-Accel-Buffering"] = "no"
        if self._request.version >= (1, 1):
            response.enable_chunked_encoding()
        self.response = response
        await response.prepare(self._request)
        self.write = response.write  # type: ignore[method-assign]  # one frame less for every chunk

    async def write(self, data: bytes) -> None:
        assert self.response is not None
        await self.response.write(data)

    async def end(self) -> None:
        assert self.response is not None
        await self.response.write_eof()

    def heartbeat(self) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > 0:
            return
        if self._request.version >= (1, 1):
            transport.write(b"%x\r\n%b\r\n" % (len(HEARTBEAT), HEARTBEAT))
        else:
            transport.write(HEARTBEAT)

    def abort(self) -> None:
        """Closes after what was written has gone out, and without the last chunk: the client sees a cut."""
        protocol = self._request.protocol
        if protocol is not None:
            protocol.force_close()
