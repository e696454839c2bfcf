"""One request of an operator, and the table of rows that says who answers it.

A row is a method, a path and a handler; `{name}` in a path stands for one part of any characters, which the handler
gets decoded. RFC 9110: HEAD is answered as GET is, and a wrong method is told the right ones. Who may ask is decided by
`admin_guard`, what is answered by the handlers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol, TypeVar
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from proxy.errors import ProxyError

T = TypeVar("T")


class AdminRequest(Struct):
    """Path and query are as they were sent, `params` are decoded; `body` is whole."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    remote: str  # the caller's address
    params: dict[str, str] = {}  # what stands for the names in the row's path
    body: bytes = b""
    key_id: str | None = None  # a handler notes here which key it was about

    def order(self, shape: type[T], what: str) -> T:
        """The body as `shape`, by whose own word too (`__post_init__`). `what` is for the ProxyError: "a key"."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # all else a page may send across origins without asking
            raise ProxyError("unsupported_media_type", f"send {what} as application/json")
        try:
            return msgspec.json.decode(self.body, type=shape)
        except ValueError as error:  # msgspec's own are among them, and what a shape says
            raise ProxyError("invalid_request", f"this does not describe {what}: {error}") from error


class Reply(Struct, frozen=True):
    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class Parts(Protocol):
    """What a reply without an end is made of."""

    async def take(self) -> bytes:
        """The next ones; none: it has ended after all."""
        ...

    def close(self) -> None: ...


class Streamed(Struct, frozen=True):
    """An event stream. Whoever sends it closes its parts."""

    parts: Parts
    status: int = 200


Handler = Callable[[AdminRequest], Awaitable[Reply | Streamed]]


class Route(Struct, frozen=True):
    method: Literal["GET", "POST", "DELETE"]
    path: str
    handler: Handler


class Routes:
    def __init__(self, rows: Sequence[Route]) -> None:
        self._rows = [(row.path.split("/"), row) for row in rows]

    def __repr__(self) -> str:
        return f"Routes({len(self._rows)} rows)"

    def find(self, method: str, path: str) -> tuple[Handler, dict[str, str]]:
        """The handler and its `params`. Raises ProxyError."""
        wanted = "GET" if method == "HEAD" else method
        parts = [unquote(part) for part in path.split("/")]  # after the cut: a name may hold a slash
        allowed: set[str] = set()
        for template, row in self._rows:
            params = _params(template, parts)
            if params is None:
                continue
            if row.method == wanted:
                return row.handler, params
            allowed |= {"GET", "HEAD"} if row.method == "GET" else {row.method}
        if not allowed:
            raise ProxyError("unknown_path", "there is nothing at this path")
        allow = ",".join(sorted(allowed))
        raise ProxyError("method_not_allowed", f"this path takes {allow}", headers=(("Allow", allow),))


def _params(template: list[str], parts: list[str]) -> dict[str, str] | None:
    """None: another path."""
    if len(template) != len(parts):
        return None
    params: dict[str, str] = {}
    for own, part in zip(template, parts, strict=True):
        if own.startswith("{") and part:
            params[own[1:-1]] = part
        elif own != part:
            return None
    return params


def json_reply(content: object, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    return Reply(msgspec.json.encode(content), status, headers=headers)
