"""One exchange with an upstream: a connection from the pool, request out, head in, body piece by piece.

Of aiohttp it uses the pool and the parser (`line`), not `ClientSession`: there is no cookie jar, redirect, netrc or
environment proxy here that a setting could switch on, and an exchange costs about a third less CPU. It decides what a
failure of the wire means (RFC 9110, RFC 9112), and that a connection serves again only after a reply that was read to
its end. It has no timeout but the one for connecting: its caller bounds every wait.
"""

from __future__ import annotations

import asyncio
import errno
import re
import ssl
from collections.abc import Callable, Mapping

from aiohttp import (
    ClientConnectionError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientSSLError,
    ClientTimeout,
    hdrs,
)
from aiohttp.abc import AbstractResolver
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import EofStream, StreamReader
from msgspec import Struct
from yarl import URL

from proxy.errors import ProxyError
from proxy.providers.base import UpstreamRequest, unnoticed
from proxy.providers.line import Line, Pool

INTERIM_HEADS_MAX = 8
ROUTES_MAX = 1024
OUT_OF_SOCKETS = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS})
PATH = re.compile(r"/[!-~]*")
BODILESS = frozenset({204, 205, 206, 304})  # never an answer to what the gate asks


class _Route(Struct, frozen=True):
    """What is the same in every request to one URL."""

    place: str  # host and port, for messages: never the userinfo, path or query
    lead: str  # path, version and Host line
    request: ClientRequest  # what the pool connects by; nothing of it is sent


class AiohttpResponse:
    """A reply whose head is in."""

    __slots__ = ("_connection", "_line", "_payload", "_place", "headers", "status")

    def __init__(
        self, connection: Connection, line: Line, *, message: RawResponseMessage, payload: StreamReader, place: str
    ) -> None:
        self.status: int = message.code
        self.headers: Mapping[str, str] = message.headers
        self._connection: Connection | None = connection
        self._line = line
        self._payload = payload
        self._place = place

    async def read(self) -> bytes:
        if self._payload.at_eof():  # a reply that came whole ends without another wait
            self.close()
            return b""
        try:
            data = await self._payload.readany()
        except (ClientError, OSError, RuntimeError) as error:  # RuntimeError: closed under a reader
            self.close()
            raise ProxyError("upstream_broken", f"{self._place} cut its reply short") from error
        if not data:
            self.close()
        return data

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._payload.at_eof() and self._line.reusable():
            connection.release()
        else:
            self._payload.set_exception(ClientConnectionError("closed"))  # wakes a reader, if one is waiting
            _abort(connection, self._line)


class AiohttpTransport:
    """The one transport of a process; every provider shares its pool."""

    def __init__(
        self,
        *,
        connect_s: float = 5.0,
        keep_alive_s: float = 60.0,
        tls: ssl.SSLContext | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """`tls` can add trusted authorities, never remove the check. `connect_s` covers name, address and handshake."""
        if tls is not None and (tls.verify_mode != ssl.CERT_REQUIRED or not tls.check_hostname):
            raise ValueError("a TLS context for upstreams must verify certificates and host names")
        self._resolver = resolver
        self._tls = tls
        self._connect_s = connect_s
        self._keep_alive_s = keep_alive_s
        self._timeout = ClientTimeout(total=None, connect=connect_s, sock_connect=connect_s)
        self._pool: Pool | None = None  # made by the first request: it belongs to the running loop
        self._routes: dict[str, _Route] = {}
        self._closed = False

    @property
    def open_connections(self) -> int:
        return 0 if self._pool is None else self._pool.open_connections

    def __repr__(self) -> str:
        return f"AiohttpTransport({self.open_connections} open, {len(self._routes)} routes)"

    async def send(self, request: UpstreamRequest, sent: Callable[[], None] = unnoticed) -> AiohttpResponse:
        route = self._routes.get(request.url) or self._new_route(request.url)
        head = _head(request, route)
        connection, line = await self._connect(route)
        sent()
        try:
            return await _exchange(connection, line, head=head, body=request.body, place=route.place)
        except (ClientError, EofStream, OSError) as error:
            if not line.closed_while_idle():
                raise _hung_up(route.place) from error
        connection, line = await self._connect_afresh(route)
        try:
            return await _exchange(connection, line, head=head, body=request.body, place=route.place)
        except (ClientError, EofStream, OSError) as error:
            raise _hung_up(route.place) from error

    async def close(self) -> None:
        self._closed = True
        if self._pool is not None:
            await self._pool.close()

    async def _connect(self, route: _Route) -> tuple[Connection, Line]:
        """A connection from the pool, or a new one. Ends: each turn takes one connection out of the pool."""
        if self._closed:
            raise ProxyError("shutting_down", "The gate is shutting down.", sent=False)
        pool = self._pool or self._new_pool()
        while True:
            try:
                connection = await pool.connect(route.request, [], self._timeout)
            except (ClientError, OSError, ValueError) as error:  # ValueError: a host name that cannot be one
                raise self._unconnected(route.place, error) from error
            line = connection.protocol
            assert isinstance(line, Line)
            if not line.should_close:
                return connection, line
            connection.close()

    async def _connect_afresh(self, route: _Route) -> tuple[Connection, Line]:
        """A connection that has carried nothing. Idle ones are given up: they have the age of the one that died."""
        while True:
            connection, line = await self._connect(route)
            if line.exchanges == 0:
                return connection, line
            _abort(connection, line)

    def _new_pool(self) -> Pool:
        self._pool = Pool(keep_alive_s=self._keep_alive_s, tls=self._tls, resolver=self._resolver)
        return self._pool

    def _new_route(self, url: str) -> _Route:
        target = URL(url, encoded=True)  # as configured: an escaped colon or slash in a model name stays escaped
        path = target.raw_path_qs
        if target.scheme not in ("http", "https") or not target.raw_host or not PATH.fullmatch(path):
            raise ProxyError("upstream_unreachable", "The upstream's address is not an http(s) URL.", sent=False)
        place = target.host_port_subcomponent or target.raw_host
        if len(self._routes) >= ROUTES_MAX:
            self._routes.clear()
        route = self._routes[url] = _Route(
            place=place,
            lead=f" {path} HTTP/1.1\r\nHost: {place}\r\n",
            request=ClientRequest("POST", target, loop=asyncio.get_running_loop()),
        )
        return route

    def _unconnected(self, place: str, error: Exception) -> ProxyError:
        cause = error.os_error if isinstance(error, ClientConnectorError) else error
        if isinstance(cause, OSError) and cause.errno in OUT_OF_SOCKETS:
            return ProxyError("overloaded", "The gate has no socket left for an upstream.", retry_after_s=1, sent=False)
        if isinstance(cause, TimeoutError):
            message = f"{place} did not accept a connection within {self._connect_s:g} s"
            return ProxyError("upstream_timeout", message, sent=False)
        if isinstance(error, ClientConnectorDNSError):
            message = f"{place} could not be resolved"
        elif isinstance(error, ClientSSLError):
            message = f"The TLS handshake with {place} failed: {_tls_reason(cause)}"
        else:
            message = f"{place} could not be connected to"
        return ProxyError("upstream_unreachable", message, sent=False)


async def _exchange(connection: Connection, line: Line, *, head: bytes, body: bytes, place: str) -> AiohttpResponse:
    """Asks and waits for the head. Whatever ends it early, a cancellation too, ends the connection."""
    try:
        line.ask(head, body)
        message, payload = await line.read()
        interim = 0
        while message.code < 200 and message.code != 101 and interim < INTERIM_HEADS_MAX:
            interim += 1
            message, payload = await line.read()
        fault = _fault(message)
        if fault is not None:
            raise ProxyError("upstream_broken", f"{place} {fault}")
    except HttpProcessingError as error:
        _abort(connection, line)
        raise ProxyError("upstream_broken", f"{place} sent a head that is not valid HTTP") from error
    except BaseException:
        _abort(connection, line)
        raise
    return AiohttpResponse(connection, line, message=message, payload=payload, place=place)


def _fault(message: RawResponseMessage) -> str | None:
    """Why this head cannot begin a reply."""
    headers = message.headers
    if message.code < 200:
        return f"answered with interim status {message.code} and nothing after it"
    if message.code in BODILESS:
        return f"answered with status {message.code}, which cannot carry a reply"
    coding = headers.get(hdrs.CONTENT_ENCODING)
    if coding is not None and coding.lower() != "identity":
        return "compressed its reply although it was asked not to"
    framing = headers.get(hdrs.TRANSFER_ENCODING)
    if framing is not None and (framing.lower() != "chunked" or hdrs.CONTENT_LENGTH in headers):
        return "framed its reply in a way that cannot be trusted"
    return None


def _head(request: UpstreamRequest, route: _Route) -> bytes:
    lines = [request.method, route.lead]
    lines += [f"{name}: {value}\r\n" for name, value in request.headers.items()]
    lines.append(f"Content-Length: {len(request.body)}\r\n\r\n")
    head = "".join(lines)
    ends = len(lines) + 1
    if head.count("\n") != ends or head.count("\r") != ends or "\0" in head:
        raise ProxyError("internal", "A header for the upstream holds a line break.", sent=False)
    return head.encode("utf-8", "surrogateescape")


def _abort(connection: Connection, line: Line) -> None:
    line.abort()
    connection.close()


def _hung_up(place: str) -> ProxyError:
    return ProxyError("upstream_unreachable", f"{place} closed the connection without an answer")


def _tls_reason(cause: Exception) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return cause.verify_message
    return "no common ground" if not isinstance(cause, ssl.SSLError) else str(cause.reason or "refused")
