"""Runs on the admin listener: what they are doing and have cost, and an operator's word on them.

A body describes one command and nothing else; without an `id` of the caller's own one is made, so that a command whose
answer was lost can be repeated only by whoever named it. What a command does is decided by the governor.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Protocol, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from proxy.errors import ProxyError
from proxy.runs.registry import Kind, RunCommand
from proxy.surfaces.admin_guard import json_reply
from proxy.surfaces.query import instant_ms, limit, number, parameters
from proxy.types import Unit

NANOS = 1_000_000_000
AMOUNT_MAX = 10**9  # dollars, or a million times as many of anything else

Id = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")]
Count = Annotated[int, Meta(gt=0, le=AMOUNT_MAX * 10**6)]


class Views(Protocol):
    async def runs(
        self, limit: int, *, agent: str | None = None, since_ms: int | None = None, before: int | None = None
    ) -> Struct: ...
    async def run(self, id: str) -> Struct | None: ...


class Governor(Protocol):
    async def govern(self, command: RunCommand, *, unseen: bool = False) -> Struct: ...
    async def top_up(self, command: RunCommand) -> Struct: ...


class RunServices(Struct, frozen=True):
    views: Views
    governor: Governor
    wall: Callable[[], float]
    new_id: Callable[[], str]


class KillRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /runs/ID/kill and of POST /runs/ID/resume."""

    id: Id | None = None
    unseen: bool = False  # also when no call of the run was ever seen


class PauseRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /runs/ID/pause."""

    id: Id | None = None
    unseen: bool = False
    cancel: bool = False  # end the calls in flight as well


class TopUpRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /runs/ID/topup and POST /accounts/NAME/topup: exactly one unit."""

    id: Id | None = None
    usd: Decimal | None = None
    tokens: Count | None = None
    requests: Count | None = None
    steps: Count | None = None
    concurrency: Count | None = None

    def amount(self) -> tuple[Unit, int]:
        """Money in nano-dollars. Raises ValueError."""
        given: list[tuple[Unit, int]] = []
        if self.usd is not None:
            given.append(("usd", _nanos(self.usd)))
        counts: tuple[tuple[Unit, int | None], ...] = (
            ("tokens", self.tokens),
            ("requests", self.requests),
            ("steps", self.steps),
            ("concurrency", self.concurrency),
        )
        given += [(unit, count) for unit, count in counts if count is not None]
        if len(given) != 1:
            raise ValueError("name exactly one of usd, tokens, requests, steps, concurrency")
        return given[0]


T = TypeVar("T", KillRequest, PauseRequest, TopUpRequest)


class RunRoutes:
    def __init__(self, services: RunServices) -> None:
        self._services = services

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/runs", self.runs),
            web.get("/runs/{id}", self.run),
            web.post("/runs/{id}/kill", self.kill),
            web.post("/runs/{id}/pause", self.pause),
            web.post("/runs/{id}/resume", self.resume),
            web.post("/runs/{id}/topup", self.top_up_run),
            web.post("/accounts/{name}/topup", self.top_up_account),
        ]

    async def runs(self, request: web.Request) -> web.Response:
        given = parameters(request, ("since", "limit", "before", "agent"))
        since = instant_ms(given, "since", int(self._services.wall() * 1000))
        before, agent = number(given, "before"), given.get("agent")
        return json_reply(await self._services.views.runs(limit(given), agent=agent, since_ms=since, before=before))

    async def run(self, request: web.Request) -> web.Response:
        parameters(request)
        found = await self._services.views.run(request.match_info["id"])
        if found is None:
            raise ProxyError("unknown_path", "no run of this id is known")
        return json_reply(found)

    async def kill(self, request: web.Request) -> web.Response:
        asked = await _body(request, KillRequest)
        return await self._govern(request, self._command("kill", request, asked.id), unseen=asked.unseen)

    async def pause(self, request: web.Request) -> web.Response:
        asked = await _body(request, PauseRequest)
        command = msgspec.structs.replace(self._command("pause", request, asked.id), cancel=asked.cancel)
        return await self._govern(request, command, unseen=asked.unseen)

    async def resume(self, request: web.Request) -> web.Response:
        asked = await _body(request, KillRequest)
        return await self._govern(request, self._command("resume", request, asked.id), unseen=asked.unseen)

    async def top_up_run(self, request: web.Request) -> web.Response:
        return await self._top_up(request, f"run:{request.match_info['id']}")

    async def top_up_account(self, request: web.Request) -> web.Response:
        return await self._top_up(request, request.match_info["name"])

    async def _govern(self, request: web.Request, command: RunCommand, *, unseen: bool) -> web.Response:
        parameters(request)
        return json_reply(await self._services.governor.govern(command, unseen=unseen))

    async def _top_up(self, request: web.Request, account: str) -> web.Response:
        parameters(request)
        asked = await _body(request, TopUpRequest)
        try:
            unit, amount = asked.amount()
        except ValueError as error:
            raise ProxyError("invalid_request", str(error)) from error
        command = msgspec.structs.replace(
            self._command("topup", request, asked.id), run=account, unit=unit, amount=amount
        )
        return json_reply(await self._services.governor.top_up(command))

    def _command(self, kind: Kind, request: web.Request, id: str | None) -> RunCommand:
        services = self._services
        run, by = request.match_info.get("id", ""), f"admin from {request.remote}"
        return RunCommand(kind, run, id or services.new_id(), by, services.wall())


async def _body(request: web.Request, shape: type[T]) -> T:
    """Nothing at all describes the plainest command."""
    raw = await request.read()
    if raw and request.content_type != "application/json":  # all else a page may send across origins without asking
        raise ProxyError("unsupported_media_type", "send the command as application/json")
    try:
        return msgspec.json.decode(raw or b"{}", type=shape)
    except ValueError as error:  # msgspec's own are among them
        raise ProxyError("invalid_request", f"this does not describe the command: {error}") from error


def _nanos(usd: Decimal) -> int:
    fits = usd.is_finite() and 0 < usd <= AMOUNT_MAX
    nanos = usd * NANOS if fits else Decimal()
    if not fits or nanos < 1 or nanos != int(nanos):  # 1e-999999999 becomes 0 on the way
        raise ValueError(f"usd must be above 0, at most {AMOUNT_MAX}, with at most nine digits behind the point")
    return int(nanos)
