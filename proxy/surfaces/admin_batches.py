"""Batches on the admin listener: all of them, one, and an operator's word that ends it."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from proxy.surfaces.admin_route import AdminRequest, Reply, Route, json_reply
from proxy.surfaces.query import limit, parameters


class Desk(Protocol):
    """Each raises ProxyError."""

    async def report(self, limit: int, before: str | None) -> Struct: ...
    async def one(self, id: str) -> Struct: ...
    async def cancel(self, id: str) -> Struct: ...


class BatchRoutes:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/batches", self.report),
            Route("GET", "/batches/{id}", self.one),
            Route("POST", "/batches/{id}/cancel", self.cancel),
        ]

    async def report(self, asked: AdminRequest) -> Reply:
        given = parameters(asked.query, ("limit", "before"))
        return json_reply(await self._desk.report(limit(given), given.get("before")))

    async def one(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        return json_reply(await self._desk.one(asked.params["id"]))

    async def cancel(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        return json_reply(await self._desk.cancel(asked.params["id"]))
