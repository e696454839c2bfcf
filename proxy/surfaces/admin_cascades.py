"""Cascades on the admin listener: what is known of their rungs, what people say of answers, and a word to forget it.

Whoever has seen what became of an answer, or of a run, says so here: a test suite, a reviewer, the agent's own end.
What follows from it is decided where it is known.
"""

from __future__ import annotations

from typing import Annotated, Protocol

from msgspec import Meta, Struct

from proxy.execution.given import Feedback, Reset
from proxy.surfaces.admin_route import AdminRequest, Reply, Route, json_reply
from proxy.surfaces.query import parameters

Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
Score = Annotated[float, Meta(ge=0, le=1)]


class Desk(Protocol):
    async def report(self) -> Struct: ...
    async def feedback(self, feedback: Feedback) -> Struct: ...
    async def reset(self, reset: Reset) -> Struct: ...


class FeedbackRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /feedback."""

    score: Score
    request: Name | None = None
    run: Name | None = None
    tenant: Name | None = None  # whose run, where several have one of that name

    def __post_init__(self) -> None:
        if (self.request is None) == (self.run is None):
            raise ValueError("name a request or a run, one of the two")
        if self.run is None and self.tenant is not None:
            raise ValueError("a tenant says whose run is meant, and a request is named")


class ResetRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /cascades/reset: rungs are forgotten that all of it is true of."""

    agent: Name | None = None
    model: Name | None = None
    all: bool = False  # instead of the others

    def __post_init__(self) -> None:
        if (self.agent is not None or self.model is not None) == self.all:
            raise ValueError("name an agent or a model, or else say `all`")

    def reset(self) -> Reset:
        return Reset(self.agent, self.model)


class Finder(Protocol):
    async def find(self, name: str, tenant: str | None = None) -> str | None: ...


class CascadeRoutes:
    def __init__(self, desk: Desk, runs: Finder) -> None:
        self._desk = desk
        self._runs = runs

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/cascades", self.report),
            Route("POST", "/cascades/reset", self.reset),
            Route("POST", "/feedback", self.feedback),
        ]

    async def report(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        return json_reply(await self._desk.report())

    async def reset(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        order = asked.order(ResetRequest, "a reset")
        return json_reply(await self._desk.reset(order.reset()))

    async def feedback(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        order = asked.order(FeedbackRequest, "feedback")
        run = None if order.run is None else await self._runs.find(order.run, order.tenant)
        return json_reply(await self._desk.feedback(Feedback(order.score, order.request, run)))
