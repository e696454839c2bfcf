"""Who may use the admin listener, and how it says no.

What a browser could be tricked into is closed here: only listed Host names are served (DNS rebinding), no request that
names a foreign Origin (cross-site requests), no cookies, no CORS. The token is compared in constant time. Errors of any
kind leave as JSON, and every request that may change something leaves an audit line, refused ones too, and those whose
caller did not wait for the answer.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
from collections.abc import Callable, Sequence

from msgspec import Struct

from proxy.errors import ProxyError
from proxy.secret import Secret
from proxy.snapshot import Limits
from proxy.surfaces.admin_route import AdminRequest, Reply, Route, Routes, Streamed, json_reply
from proxy.surfaces.body import read_body
from proxy.surfaces.client import Client
from proxy.surfaces.connection import Connection, Edges
from proxy.surfaces.console import FOLDER
from proxy.surfaces.request import Request

BODY_BYTES_MAX = 1024 * 1024
EDGES = Edges(connections_max=500)
LIMITS = Limits(body_bytes_max=BODY_BYTES_MAX)
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
OPEN_PATHS = frozenset({"/", "/health/live"})  # they, and the console's files, say nothing about anyone
READING = ("GET", "HEAD")
HEADERS = (
    ("Cache-Control", "no-store"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)
CLIENT_CLOSED = 499
STREAM_WRITE_S = 60.0


class Audit(Struct, frozen=True):
    """Who asked for which change and what became of it; never a key."""

    method: str
    path: str  # as it was sent
    remote: str
    status: int
    key_id: str | None = None


class Rules(Struct, frozen=True):
    audit: Callable[[Audit], None]
    token: Secret | None
    hosts: frozenset[str]  # names beside the loopback ones, without port
    key_errors: tuple[type[Exception], ...]  # what the key store raises when its file cannot be used


class Guard:
    """Before every route: who may ask, what an error looks like, the audit line."""

    def __init__(self, rules: Rules, routes: Sequence[Route]) -> None:
        self._rules = rules
        self._routes = Routes(routes)
        self._hosts = LOOPBACK | rules.hosts
        self._token = rules.token.reveal().encode() if rules.token else None

    def __repr__(self) -> str:
        return f"Guard({self._routes})"

    async def handle(self, request: Request, connection: Connection) -> bool:
        """Answers it, and says whether the connection can be used again."""
        asked, status = _asked(request, connection), CLIENT_CLOSED
        try:
            reply = await self._answer(asked, request, connection)
            status = reply.status
        finally:
            if asked.method not in READING:
                self._rules.audit(Audit(asked.method, asked.path, asked.remote, status, asked.key_id))
        client = Client(request, connection, LIMITS.write_timeout_s)
        if isinstance(reply, Streamed):
            await _stream(reply, client, bodiless=asked.method == "HEAD")
        else:
            await client.whole(status, _headers(reply), reply.body)
        return client.keep_alive

    async def _answer(self, asked: AdminRequest, request: Request, connection: Connection) -> Reply | Streamed:
        try:
            self._admit(asked)
            handler, asked.params = self._routes.find(asked.method, asked.path)
            asked.body = await read_body(request, connection, limits=LIMITS, seconds_allowed=math.inf)
            return await handler(asked)
        except ProxyError as error:
            return error_reply(error)
        except self._rules.key_errors as error:
            return error_reply(ProxyError("internal", f"the keys cannot be used: {error}", status=503))
        except Exception:  # a defect: errors of any kind leave as JSON
            logging.getLogger("proxy").exception("the admin listener met a defect")
            return error_reply(ProxyError("internal", "this could not be answered; the log says why"))

    def _admit(self, asked: AdminRequest) -> None:
        host, origin = asked.headers.get("host", ""), asked.headers.get("origin")
        if _without_port(host) not in self._hosts:
            raise ProxyError("not_allowed", "this Host name is not served here: list it under `admin.hosts`")
        if origin is not None and origin.partition("://")[2] != host:
            raise ProxyError("not_allowed", "requests from pages of another origin are refused")
        if self._token is None or asked.path in OPEN_PATHS or asked.path.startswith(FOLDER):
            return
        scheme, _, given = asked.headers.get("authorization", "").partition(" ")
        sent = given if scheme.lower() == "bearer" else ""
        if not hmac.compare_digest(sent.encode("utf-8", "surrogateescape"), self._token):
            why = "has another token than this" if sent else "wants its token: `Authorization: Bearer TOKEN`"
            raise ProxyError("invalid_api_key", f"the admin listener {why}")


def _headers(reply: Reply) -> list[tuple[str, str]]:
    """A reply's own word on caching comes before ours."""
    own = {name for name, _ in reply.headers}
    return [("Content-Type", reply.content_type), *reply.headers, *[each for each in HEADERS if each[0] not in own]]


async def _stream(reply: Streamed, client: Client, *, bodiless: bool) -> None:
    """Until either side has had enough; a viewer that takes nothing for long is one that has left."""
    headers = [("Content-Type", "text/event-stream"), *HEADERS[1:]]  # a stream has its own word on caching
    try:
        if bodiless:
            await client.whole(reply.status, headers, b"")
            return
        await client.start(reply.status, headers)
        while data := await reply.parts.take():
            async with asyncio.timeout(STREAM_WRITE_S):
                await client.write(data)
        await client.end()
    except TimeoutError:
        raise ConnectionResetError("the viewer read too slowly") from None
    finally:
        reply.parts.close()


def error_reply(error: ProxyError) -> Reply:
    challenge = (("WWW-Authenticate", "Bearer"),) if error.status == 401 else ()
    content = {"error": {"message": error.message, "code": error.code}}
    return json_reply(content, error.status, (*error.headers, *challenge))


def _asked(request: Request, connection: Connection) -> AdminRequest:
    path, _, query = request.target.partition("?")
    peer = connection.transport.get_extra_info("peername")
    remote = str(peer[0]) if peer else ""
    return AdminRequest(request.method, path, query, request.headers, remote)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()
