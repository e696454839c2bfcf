"""Kept words on the admin listener: how much there is, an operator's word to forget, and those of one call.

They are shown only where the listener wants a token: on a machine that others use, too, whoever reaches the listener
could read them else. Each time they are read stands in the audit log, as changes do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from proxy.errors import ProxyError
from proxy.surfaces.admin_guard import Audit
from proxy.surfaces.admin_route import AdminRequest, Reply, Route, json_reply
from proxy.surfaces.query import instant_ms, parameters


class Desk(Protocol):
    async def request(self, id: str) -> Struct | None: ...
    async def report(self) -> Struct: ...
    async def purge(self, before_ms: int | None) -> Struct: ...


class ContentPurgeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /content/purge."""

    before: str | None = None  # days that were over by then: 7d, or a date
    all: bool = False  # instead

    def __post_init__(self) -> None:
        if (self.before is not None) == self.all:
            raise ValueError("say `before`, or else `all`")


class ContentServices(Struct, frozen=True):
    desk: Desk
    audit: Callable[[Audit], None]
    wall: Callable[[], float]
    guarded: bool  # the listener wants a token

    async def request(self, asked: AdminRequest, id: str) -> Struct | None:
        """All that is known of a call, its words too. Raises ProxyError."""
        if not self.guarded:
            raise ProxyError("not_allowed", "content is shown only by a listener with a token: set `admin.token`")
        self.audit(Audit(asked.method, f"{asked.path}?{asked.query}", asked.remote, 200))
        return await self.desk.request(id)


class ContentRoutes:
    def __init__(self, services: ContentServices) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        return [Route("GET", "/content", self.report), Route("POST", "/content/purge", self.purge)]

    async def report(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        return json_reply(await self._services.desk.report())

    async def purge(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        order = asked.order(ContentPurgeRequest, "a purge")
        given = {} if order.before is None else {"before": order.before}
        before = instant_ms(given, "before", int(self._services.wall() * 1000))
        try:
            return json_reply(await self._services.desk.purge(before))
        except OSError as error:
            raise ProxyError("internal", f"the files cannot be deleted: {error.strerror}", status=503) from error
