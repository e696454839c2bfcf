"""Known answers on the admin listener: how many there are, what they have saved, and an operator's word to forget some.

A purge that names nothing would take everything, so that has a word of its own. Which answers belong to what is the
caches' to know.
"""

from __future__ import annotations

from typing import Annotated, Protocol

from msgspec import Meta, Struct

from proxy.caching.stock import Purge
from proxy.surfaces.admin_route import AdminRequest, Reply, Route, json_reply
from proxy.surfaces.query import parameters

Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
Key = Annotated[str, Meta(pattern=r"^(?:[0-9a-f]{32}){1,2}$")]  # a SHA-256; of the semantic cache, a call's id


class Desk(Protocol):
    async def report(self) -> Struct: ...
    async def purge(self, purge: Purge) -> Struct: ...


class PurgeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /caches/purge: answers go that all of it is true of."""

    agent: Name | None = None
    model: Name | None = None
    key: Key | None = None
    all: bool = False  # instead of the others

    def __post_init__(self) -> None:
        named = any(each is not None for each in (self.agent, self.model, self.key))
        if named == self.all:
            raise ValueError("name an agent, a model or a key, or else say `all`")

    def purge(self) -> Purge:
        return Purge(self.agent, self.model, self.key)


class CacheRoutes:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        return [Route("GET", "/caches", self.report), Route("POST", "/caches/purge", self.purge)]

    async def report(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        return json_reply(await self._desk.report())

    async def purge(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        order = asked.order(PurgeRequest, "a purge")
        return json_reply(await self._desk.purge(order.purge()))
