"""`POST /loadtest` on the admin listener: a load test says who it is and how many users it has just now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from msgspec import Meta, Struct

from proxy.surfaces.admin_route import AdminRequest, Reply, Route, json_reply
from proxy.surfaces.query import parameters

Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[\w.: -]+$")]


class LoadTest(Struct, frozen=True, forbid_unknown_fields=True):
    test: Name
    scenario: Name
    users: Annotated[int, Meta(ge=0, le=1_000_000)]  # 0: it has ended


class LoadRoutes:
    def __init__(self, told: Callable[[str, str, int], None]) -> None:
        self._told = told

    def routes(self) -> list[Route]:
        return [Route("POST", "/loadtest", self.loadtest)]

    async def loadtest(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        order = asked.order(LoadTest, "a load test")
        self._told(order.test, order.scenario, order.users)
        return json_reply({"users": order.users})
