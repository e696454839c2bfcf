"""Calls that the gate makes itself because of another: an embedding, a judge's verdict, a sample in the shadow.

Each goes the whole way of a call, on behalf of the agent and the run that caused it: with its own hold, its own row in
the ledger, and every limit but those that would have it ask for more of its kind. What it answers is handed back as
bytes; nothing of it reaches a client by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import structs

from pricing.tokens import input_estimate
from proxy.clock import Clock
from proxy.dialects.base import Dialect
from proxy.errors import ProxyError
from proxy.execution.asking import SideReply
from proxy.execution.record import Record
from proxy.parts import Shared
from proxy.relay import Headers
from proxy.renewal import Nobody, made_because_of
from proxy.snapshot import AgentRules, Snapshot
from proxy.tasks import Tasks
from proxy.types import Call, Endpoint

Serve = Callable[[Call, Shared, Snapshot], Awaitable[Record]]
NO_CACHE = AgentRules().cache


class Heard(Nobody):
    """A client that is the gate itself."""

    def __init__(self) -> None:
        super().__init__()
        self.status = 0
        self.body = b""

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        self.status, self.body = status, body

    async def start(self, status: int, headers: Headers) -> None:
        self.status = status

    async def write(self, data: bytes) -> None:
        await super().write(data)
        self.body += data


class SideCalls:
    def __init__(self, clock: Clock, dialect: Dialect, tasks: Tasks, serve: Serve) -> None:
        self._clock = clock
        self._dialect = dialect
        self._tasks = tasks
        self._serve = serve

    def __repr__(self) -> str:
        return f"SideCalls({self._dialect.name})"

    async def ask(
        self, cause: Call, endpoint: Endpoint, body: bytes, *, snapshot: Snapshot, seconds: float
    ) -> SideReply | ProxyError:
        """As `asking.Asks` says."""
        try:
            call = self._call(cause, endpoint, body, snapshot, seconds)
        except ProxyError as error:
            return error
        heard, ended = Heard(), asyncio.get_running_loop().create_future()
        task = self._tasks.start("side call", self._serve_into(call, heard, snapshot, ended))
        try:
            record: Record | None = await ended
        except asyncio.CancelledError:
            task.cancel()
            raise
        if record is None:
            return ProxyError("shutting_down", "The gate is stopping.")
        if record.error is not None:
            return record.error
        return SideReply(call.id, heard.status, heard.body, record.cost_usd_nanos)

    async def _serve_into(
        self, call: Call, heard: Heard, snapshot: Snapshot, ended: asyncio.Future[Record | None]
    ) -> None:
        record: Record | None = None
        try:
            record = await self._serve(call, heard, quiet(snapshot, call.identity.agent))
        finally:
            if not ended.done():
                ended.set_result(record)

    def _call(self, cause: Call, endpoint: Endpoint, body: bytes, snapshot: Snapshot, seconds: float) -> Call:
        head = self._dialect.read(endpoint, body, "application/json")
        route = snapshot.planner.routes.find(head.model)
        now = self._clock.now()
        return structs.replace(
            cause,
            id=self._clock.id(),
            endpoint=endpoint,
            route="" if route is None else route.name,
            head=head,
            raw=body,
            identity=structs.replace(cause.identity, models=None, agent_source="gate"),
            arrived_at=now,
            arrived_wall=self._clock.wall(),
            deadline=min(cause.deadline, now + seconds),
            input_tokens_estimate=input_estimate(body),
            client_retry=0,
            reuse=None,
            cause=cause.id,
            origin=made_because_of(cause),
        )


def quiet(snapshot: Snapshot, agent: str) -> Snapshot:
    """As far as a side call is concerned: any model that the operator has configured for it, and no known answers."""
    rules = structs.replace(snapshot.rules(agent), models=None, cache=NO_CACHE)
    return structs.replace(snapshot, agents={agent: rules})
