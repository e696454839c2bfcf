"""Who may use the admin listener, and how it says no.

What a browser could be tricked into is closed here: only listed Host names are served (DNS rebinding), no request that
names a foreign Origin (cross-site requests), no cookies, no CORS. The token is compared in constant time. Errors of any
kind leave as JSON, and every request that may change something leaves an audit line, refused ones too.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from msgspec import Struct

from proxy.errors import ProxyError
from proxy.secret import Secret

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
OPEN_PATHS = frozenset({"/", "/health/live"})  # they say nothing about anyone
HEADERS = {
    "Server": "headgate",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
HTTP_CODES = {404: "unknown_path", 405: "method_not_allowed", 413: "request_too_large"}
KEY_ID = web.RequestKey("key_id", str)  # a handler notes here which key it was about

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Audit(Struct, frozen=True):
    """Who asked for which change and what became of it; never a key."""

    method: str
    path: str
    remote: str
    status: int
    key_id: str | None = None


class Rules(Struct, frozen=True):
    audit: Callable[[Audit], None]
    token: Secret | None
    hosts: frozenset[str]  # names beside the loopback ones, without port
    key_errors: tuple[type[Exception], ...]  # what the key store raises when its file cannot be used


class Guard:
    """Around every route: who may ask, what an error looks like, the audit line."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._hosts = LOOPBACK | rules.hosts
        self._token = rules.token.reveal().encode() if rules.token else None

    @web.middleware
    async def serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await self._answer(request, handler)
        response.headers.update(HEADERS)
        if request.method not in ("GET", "HEAD"):
            remote, key_id = request.remote or "", request.get(KEY_ID)
            self._rules.audit(Audit(request.method, request.path, remote, response.status, key_id))
        return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._admit(request)
            return await handler(request)
        except ProxyError as error:
            return error_reply(error)
        except self._rules.key_errors as error:
            return error_reply(ProxyError("internal", f"the keys cannot be used: {error}", status=503))
        except web.HTTPException as refused:  # aiohttp's own: no such route, wrong method, body too large
            return _plain(refused)
        except Exception:  # a defect, or a body that aiohttp cannot read: errors of any kind leave as JSON
            logging.getLogger("proxy").exception("the admin listener met a defect")
            return error_reply(ProxyError("internal", "this could not be answered; the log says why"))

    def _admit(self, request: web.Request) -> None:
        host = request.headers.get("Host", "")
        if _without_port(host) not in self._hosts:
            raise ProxyError("not_allowed", "this Host name is not served here: list it under `admin.hosts`")
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != host:
            raise ProxyError("not_allowed", "requests from pages of another origin are refused")
        if self._token is None or request.path in OPEN_PATHS:
            return
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token) or scheme.lower() != "bearer":
            raise ProxyError("invalid_api_key", "the admin listener wants its token: `Authorization: Bearer TOKEN`")


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()


def json_reply(content: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(content), content_type="application/json")


def error_reply(error: ProxyError) -> web.Response:
    reply = _error(error.status, error.code, error.message)
    if error.status == 401:
        reply.headers["WWW-Authenticate"] = "Bearer"
    return reply


def _error(status: int, code: str, message: str) -> web.Response:
    return json_reply({"error": {"message": message, "code": code}}, status)


def _plain(refused: web.HTTPException) -> web.Response:
    reply = _error(refused.status, HTTP_CODES.get(refused.status, "invalid_request"), refused.reason)
    if "Allow" in refused.headers:
        reply.headers["Allow"] = refused.headers["Allow"]
    return reply
