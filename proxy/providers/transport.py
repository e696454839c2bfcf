"""One exchange with an upstream: a connection from the pool, request out, head in, body piece by piece.

HTTP/1.1 and nothing above it (RFC 9110, RFC 9112): there is no cookie jar, redirect, netrc, environment proxy or
decompression here that a setting could switch on. It decides what a failure of the wire means, and that a connection
serves again only after a reply that was read to its end. It has no timeout but the one for connecting: its caller
bounds every wait.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from proxy.errors import ProxyError
from proxy.providers.base import UpstreamRequest, header_lines, unnoticed
from proxy.providers.dial import Dialer, Origin, Resolve
from proxy.providers.line import Line
from proxy.providers.pool import Pool
from proxy.providers.reply import CUT

ROUTES_MAX = 1024
PORTS = {"http": 80, "https": 443}
PATH = re.compile(r"/[!-~]*")


class _Route(Struct, frozen=True):
    """What is the same in every request to one URL."""

    origin: Origin
    key: str  # of the origin, in the pool
    lead: bytes  # path, version and Host line


class HttpResponse:
    """A reply whose head is in."""

    __slots__ = ("_line", "_place", "_whole", "headers", "status", "unread")

    def __init__(self, line: Line, place: str) -> None:
        self.status: int = line.reply.status
        self.headers: Mapping[str, str] = line.reply.headers
        self.unread = 0
        self._line: Line | None = line  # until it is closed: then another exchange may have it
        self._place = place
        self._whole = False

    def __repr__(self) -> str:
        return f"HttpResponse({self.status}, {'closed' if self._line is None else self._line})"

    async def read(self) -> bytes:
        while (line := self._line) is not None:
            reply = line.reply
            if reply.pieces:
                return line.take()
            if reply.ended or reply.fault:
                self._whole = reply.ended
                self.close()
            else:
                await line.change()
        if self._whole:
            return b""
        raise ProxyError("upstream_broken", f"{self._place} {CUT}")

    def close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            self.unread = line.release()


class HttpTransport:
    """The one transport of a process; every provider shares its pool."""

    def __init__(
        self,
        *,
        connect_s: float = 2.0,
        keep_alive_s: float = 60.0,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        """`tls` can add trusted authorities, never remove the check. `connect_s` covers name, address and handshake."""
        if tls is not None and (tls.verify_mode != ssl.CERT_REQUIRED or not tls.check_hostname):
            raise ValueError("a TLS context for upstreams must verify certificates and host names")
        self._dialer = Dialer(connect_s, tls=tls, resolve=resolve)
        self._pool = Pool(keep_alive_s)
        self._routes: dict[str, _Route] = {}
        self._closed = False

    @property
    def open_connections(self) -> int:
        return len(self._pool)

    def __repr__(self) -> str:
        return f"HttpTransport({self._pool}, {len(self._routes)} routes)"

    async def send(self, request: UpstreamRequest, sent: Callable[[], None] = unnoticed) -> HttpResponse:
        route = self._routes.get(request.url) or self._new_route(request.url)
        head = _head(request, route)
        line = self._pool.get(route.key) or await self._dial(route)
        sent()
        place = route.origin.place
        if await _answered(line, head, body=request.body, place=place):
            return HttpResponse(line, place)
        if line.closed_while_idle():
            self._pool.forget(route.key)  # they have the age of the one that died
            line = await self._dial(route)
            if await _answered(line, head, body=request.body, place=place):
                return HttpResponse(line, place)
        raise ProxyError("upstream_unreachable", f"{place} closed the connection without an answer")

    async def close(self) -> None:
        self._closed = True
        self._pool.close()
        await asyncio.sleep(0)  # the loop tells of a lost connection in its next turn

    async def _dial(self, route: _Route) -> Line:
        if not self._closed:
            loop = asyncio.get_running_loop()
            line = await self._dialer.dial(route.origin, partial(Line, self._pool, route.key, loop))
            if line.alive:
                return line
            if not self._closed:
                message = f"{route.origin.place} closed the connection, or spoke before it was asked"
                raise ProxyError("upstream_unreachable", message, sent=False)
        raise ProxyError("shutting_down", "The gate is shutting down.", sent=False)

    def _new_route(self, url: str) -> _Route:
        target = urlsplit(url)  # as configured: an escaped colon or slash in a model name stays escaped
        origin, path = _origin(target), target.path or "/"
        if target.query:
            path = f"{path}?{target.query}"
        if origin is None or not PATH.fullmatch(path):
            raise ProxyError("upstream_unreachable", "The upstream's address is not an http(s) URL.", sent=False)
        if len(self._routes) >= ROUTES_MAX:
            self._routes.clear()
        lead = f" {path} HTTP/1.1\r\nHost: {origin.place}\r\n".encode()
        route = self._routes[url] = _Route(origin=origin, key=origin.key, lead=lead)
        return route


def _origin(target: SplitResult) -> Origin | None:
    """None: that is no address."""
    host, usual = target.hostname, PORTS.get(target.scheme)
    port = usual if target.port is None else target.port
    if not host or not port or usual is None:
        return None
    name = f"[{host}]" if ":" in host else host
    return Origin(scheme=target.scheme, host=host, port=port, place=name if port == usual else f"{name}:{port}")


async def _answered(line: Line, head: bytes, *, body: bytes, place: str) -> bool:
    """Asks and waits for the head; False if the connection ended without one. Whatever ends the wait early, a
    cancellation too, ends the connection."""
    line.ask(head, body)
    reply = line.reply
    try:
        while not reply.status:
            if reply.fault:
                raise ProxyError("upstream_broken", f"{place} {reply.fault}")
            if not line.alive:
                return False
            await line.change()
    except BaseException:
        line.abort()
        raise
    return True


def _head(request: UpstreamRequest, route: _Route) -> bytes:
    lines = request.lines or header_lines(request.headers)
    return b"%b%b%bContent-Length: %d\r\n\r\n" % (request.method.encode(), route.lead, lines, len(request.body))
