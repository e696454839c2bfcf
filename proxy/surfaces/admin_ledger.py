"""The ledger's tools on the admin listener: the chain, attempts page by page, corrections by a bill; and quotes.

No request may hold the ledger up for long, so all that reads much of it answers in pages. Nothing in here decides what
a bill means or what a call would cost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Protocol

from msgspec import Meta, Struct

from proxy.money.correcting import Billed
from proxy.money.quoting import QuoteRequest
from proxy.surfaces.admin_route import AdminRequest, Reply, Route, json_reply
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


class LedgerRoutes:
    def __init__(self, services: LedgerServices) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/ledger/verify", self.verify),
            Route("GET", "/ledger/attempts", self.attempts),
            Route("GET", "/ledger/unresolved", self.unresolved),
            Route("POST", "/ledger/adjust", self.adjust),
            Route("POST", "/quote", self.quote),
        ]

    async def verify(self, asked: AdminRequest) -> Reply:
        given = parameters(asked.query, ("after", "hash", "expect"))
        after = number(given, "after") or 0
        answer = await self._services.tools.verify(after, hash=given.get("hash"), expect=given.get("expect"))
        return json_reply(answer)

    async def attempts(self, asked: AdminRequest) -> Reply:
        given = parameters(asked.query, ("since", "until", "provider", "after"))
        since, until = self._window(given)
        after, provider = number(given, "after") or 0, given.get("provider")
        tools = self._services.tools
        return json_reply(await tools.attempts(after, since_ms=since, until_ms=until, provider=provider))

    async def unresolved(self, asked: AdminRequest) -> Reply:
        since, until = self._window(parameters(asked.query, ("since", "until")))
        return json_reply(await self._services.tools.unresolved(since, until))

    async def adjust(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        order = asked.order(AdjustRequest, "corrections")
        corrections = [Billed(each.id, each.request_id, each.attempt, each.usd_nanos) for each in order.corrections]
        by = f"admin from {asked.remote}"
        return json_reply(await self._services.tools.correct(order.bill, corrections, by))

    async def quote(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        return json_reply(await self._services.quote(asked.order(QuoteRequest, "a call")))

    def _window(self, given: dict[str, str]) -> tuple[int | None, int | None]:
        now_ms = int(self._services.wall() * 1000)
        return instant_ms(given, "since", now_ms), instant_ms(given, "until", now_ms)
