"""The ledger's tools on the admin listener: the chain, attempts page by page, corrections by a bill; and quotes.

No request may hold the ledger up for long, so all that reads much of it answers in pages. Nothing in here decides what
a bill means or what a call would cost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Protocol, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from proxy.errors import ProxyError
from proxy.money.correcting import Billed
from proxy.money.quoting import QuoteRequest
from proxy.surfaces.admin_guard import json_reply
from proxy.surfaces.query import instant_ms, number, parameters

CORRECTIONS_MAX = 500
USD_NANOS_MAX = 10**18

Text = Annotated[str, Meta(min_length=1, max_length=256)]
Amount = Annotated[int, Meta(ge=0, le=USD_NANOS_MAX)]


class Tools(Protocol):
    async def verify(self, after: int, *, hash: str | None, expect: str | None) -> Struct: ...
    async def attempts(
        self, after: int, *, since_ms: int | None, until_ms: int | None, provider: str | None
    ) -> Struct: ...
    async def unresolved(self, since_ms: int | None, until_ms: int | None) -> Struct: ...
    async def correct(self, bill: str, corrections: Sequence[Billed], by: str) -> Struct: ...


class LedgerServices(Struct, frozen=True):
    tools: Tools
    quote: Callable[[QuoteRequest], Awaitable[Struct]]
    wall: Callable[[], float]


class CorrectionRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a bill. Without `attempt`: a call whose end a crash has swallowed."""

    id: Text
    request_id: Text
    usd_nanos: Amount  # what it cost by the bill
    attempt: Annotated[int, Meta(ge=1, le=10**6)] | None = None


class AdjustRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /ledger/adjust."""

    bill: Text
    corrections: Annotated[tuple[CorrectionRequest, ...], Meta(min_length=1, max_length=CORRECTIONS_MAX)]


T = TypeVar("T", AdjustRequest, QuoteRequest)


class LedgerRoutes:
    def __init__(self, services: LedgerServices) -> None:
        self._services = services

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/ledger/verify", self.verify),
            web.get("/ledger/attempts", self.attempts),
            web.get("/ledger/unresolved", self.unresolved),
            web.post("/ledger/adjust", self.adjust),
            web.post("/quote", self.quote),
        ]

    async def verify(self, request: web.Request) -> web.Response:
        given = parameters(request, ("after", "hash", "expect"))
        after = number(given, "after") or 0
        answer = await self._services.tools.verify(after, hash=given.get("hash"), expect=given.get("expect"))
        return json_reply(answer)

    async def attempts(self, request: web.Request) -> web.Response:
        given = parameters(request, ("since", "until", "provider", "after"))
        since, until = self._window(given)
        after, provider = number(given, "after") or 0, given.get("provider")
        tools = self._services.tools
        return json_reply(await tools.attempts(after, since_ms=since, until_ms=until, provider=provider))

    async def unresolved(self, request: web.Request) -> web.Response:
        since, until = self._window(parameters(request, ("since", "until")))
        return json_reply(await self._services.tools.unresolved(since, until))

    async def adjust(self, request: web.Request) -> web.Response:
        parameters(request)
        asked = await _body(request, AdjustRequest)
        corrections = [Billed(each.id, each.request_id, each.attempt, each.usd_nanos) for each in asked.corrections]
        by = f"admin from {request.remote}"
        return json_reply(await self._services.tools.correct(asked.bill, corrections, by))

    async def quote(self, request: web.Request) -> web.Response:
        parameters(request)
        return json_reply(await self._services.quote(await _body(request, QuoteRequest)))

    def _window(self, given: dict[str, str]) -> tuple[int | None, int | None]:
        now_ms = int(self._services.wall() * 1000)
        return instant_ms(given, "since", now_ms), instant_ms(given, "until", now_ms)


async def _body(request: web.Request, shape: type[T]) -> T:
    if request.content_type != "application/json":  # all else a page may send across origins without asking
        raise ProxyError("unsupported_media_type", "send what is asked as application/json")
    try:
        return msgspec.json.decode(await request.read(), type=shape)
    except ValueError as error:  # msgspec's own are among them
        raise ProxyError("invalid_request", f"this cannot be understood: {error}") from error
