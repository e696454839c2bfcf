"""Runs on the admin listener: what they are doing and have cost, and an operator's word on them.

A body describes one command and nothing else; without an `id` of the caller's own one is made, so that a command whose
answer was lost can be repeated only by whoever named it. A run is called by its name; where several tenants have one of
that name, `tenant` says whose. What a command does is decided by the governor.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Protocol, TypeVar

import msgspec
from msgspec import Meta, Struct

from proxy.errors import ProxyError
from proxy.runs.registry import Kind, RunCommand
from proxy.surfaces.admin_route import AdminRequest, Reply, Route, json_reply
from proxy.surfaces.query import instant_ms, limit, number, parameters
from proxy.tenancy import is_tenant, split
from proxy.types import Unit

NANOS = 1_000_000_000
AMOUNT_MAX = 10**9  # dollars, or a million times as many of anything else
UNKNOWN = "no run of this name is known"
UNSEEN = "`unseen` (--unseen) with a `tenant` (--tenant) says it of one before its first call"

Id = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")]
Count = Annotated[int, Meta(gt=0, le=AMOUNT_MAX * 10**6)]


class Views(Protocol):
    async def runs(
        self, limit: int, *, agent: str | None = None, since_ms: int | None = None, before: int | None = None
    ) -> Struct: ...
    async def run(self, id: str) -> Struct | None: ...
    async def find(self, name: str, tenant: str | None = None) -> str | None: ...


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

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/runs", self.runs),
            Route("GET", "/runs/{id}", self.run),
            Route("POST", "/runs/{id}/kill", self.kill),
            Route("POST", "/runs/{id}/pause", self.pause),
            Route("POST", "/runs/{id}/resume", self.resume),
            Route("POST", "/runs/{id}/topup", self.top_up_run),
            Route("POST", "/accounts/{name}/topup", self.top_up_account),
        ]

    async def runs(self, asked: AdminRequest) -> Reply:
        given = parameters(asked.query, ("since", "limit", "before", "agent"))
        since = instant_ms(given, "since", int(self._services.wall() * 1000))
        before, agent = number(given, "before"), given.get("agent")
        return json_reply(await self._services.views.runs(limit(given), agent=agent, since_ms=since, before=before))

    async def run(self, asked: AdminRequest) -> Reply:
        id = await self._meant(asked, asked.params["id"])
        found = None if id is None else await self._services.views.run(id)
        if found is None:
            raise ProxyError("unknown_path", UNKNOWN)
        return json_reply(found)

    async def kill(self, asked: AdminRequest) -> Reply:
        order = _order(asked, KillRequest)
        return await self._govern(asked, self._command("kill", asked, order.id), unseen=order.unseen)

    async def pause(self, asked: AdminRequest) -> Reply:
        order = _order(asked, PauseRequest)
        command = msgspec.structs.replace(self._command("pause", asked, order.id), cancel=order.cancel)
        return await self._govern(asked, command, unseen=order.unseen)

    async def resume(self, asked: AdminRequest) -> Reply:
        order = _order(asked, KillRequest)
        return await self._govern(asked, self._command("resume", asked, order.id), unseen=order.unseen)

    async def top_up_run(self, asked: AdminRequest) -> Reply:
        return await self._top_up_run(asked, asked.params["id"])

    async def top_up_account(self, asked: AdminRequest) -> Reply:
        """A run's by its name alone too."""
        account = asked.params["name"]
        kind, _, name = account.partition(":")
        if kind == "run" and not is_tenant(split(name)[0]):
            return await self._top_up_run(asked, name)
        parameters(asked.query)
        return await self._top_up(asked, _order(asked, TopUpRequest), account)

    async def _meant(self, asked: AdminRequest, name: str) -> str | None:
        """The id of the run that is called so; None: there is none. Raises ProxyError."""
        tenant = parameters(asked.query, ("tenant",)).get("tenant")
        return await self._services.views.find(name, tenant)

    async def _top_up_run(self, asked: AdminRequest, name: str) -> Reply:
        order, id = _order(asked, TopUpRequest), await self._meant(asked, name)
        if id is None:
            raise ProxyError("unknown_path", UNKNOWN)
        return await self._top_up(asked, order, f"run:{id}")

    async def _govern(self, asked: AdminRequest, command: RunCommand, *, unseen: bool) -> Reply:
        run = await self._meant(asked, asked.params["id"])
        if run is None:
            raise ProxyError("unknown_path", f"{UNKNOWN}; {UNSEEN}")
        command = msgspec.structs.replace(command, run=run)
        return json_reply(await self._services.governor.govern(command, unseen=unseen))

    async def _top_up(self, asked: AdminRequest, order: TopUpRequest, account: str) -> Reply:
        try:
            unit, amount = order.amount()
        except ValueError as error:
            raise ProxyError("invalid_request", str(error)) from error
        command = msgspec.structs.replace(
            self._command("topup", asked, order.id), run=account, unit=unit, amount=amount
        )
        return json_reply(await self._services.governor.top_up(command))

    def _command(self, kind: Kind, asked: AdminRequest, id: str | None) -> RunCommand:
        """Whose it is, is said when that is known."""
        services = self._services
        return RunCommand(kind, "", id or services.new_id(), f"admin from {asked.remote}", services.wall())


def _order(asked: AdminRequest, shape: type[T]) -> T:
    """Nothing at all describes the plainest command."""
    return asked.order(shape, "the command") if asked.body else shape()


def _nanos(usd: Decimal) -> int:
    fits = usd.is_finite() and 0 < usd <= AMOUNT_MAX
    nanos = usd * NANOS if fits else Decimal()
    if not fits or nanos < 1 or nanos != int(nanos):  # 1e-999999999 becomes 0 on the way
        raise ValueError(f"usd must be above 0, at most {AMOUNT_MAX}, with at most nine digits behind the point")
    return int(nanos)
