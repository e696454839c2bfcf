"""Experiments on the admin listener: what they have shown so far, and a word to begin one anew."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from proxy.surfaces.admin_route import AdminRequest, Reply, Route, json_reply
from proxy.surfaces.query import parameters


class Desk(Protocol):
    """A name that no experiment has raises ProxyError."""

    async def reports(self) -> Struct: ...
    async def report(self, name: str) -> Struct: ...
    async def reset(self, name: str) -> Struct: ...


class ResetRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /experiments/{name}/reset: nothing more is to be said."""


class ExperimentRoutes:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/experiments", self.reports),
            Route("GET", "/experiments/{name}", self.report),
            Route("POST", "/experiments/{name}/reset", self.reset),
        ]

    async def reports(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        return json_reply(await self._desk.reports())

    async def report(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        return json_reply(await self._desk.report(asked.params["name"]))

    async def reset(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        asked.order(ResetRequest, "a reset")
        return json_reply(await self._desk.reset(asked.params["name"]))
