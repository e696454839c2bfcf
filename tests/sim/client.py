"""Clients in memory: the downstream of one call, and an SDK that asks, waits, gives up, and tries again.

A `Wire` notes everything the gate does to it, and what the protocol forbids as a fault. An `Sdk` behaves as the common
ones: two retries, obeying `x-should-retry` and `retry-after`; and as people do: it leaves at any instant, reads slowly,
or not at all.
"""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Literal, Protocol

from msgspec import Struct

from pricing.tokens import input_estimate
from proxy.clock import Clock
from proxy.dialects.base import Dialect
from proxy.execution.flight import Flight
from proxy.pipeline import Pipeline
from proxy.relay import Headers
from proxy.snapshot import Snapshot
from proxy.types import Call, Identity

RETRIES = 2
RETRIED = frozenset({408, 409, 429}) | frozenset(range(500, 600))
RETRY_AFTER_MAX_S = 120.0
STUCK_S = 1e6
IMPATIENT_SHARE = 0.3  # of calls that are asked for again while they run, as if their connection had broken

Ended = Literal["whole", "end", "abort", "gone"]


class Wire:
    """`stuck_after`: writes until this client stops reading; `slow_s`: how long it takes over each."""

    def __init__(self, *, slow_s: float = 0.0, stuck_after: int | None = None) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended: Ended | None = None
        self.acted_at = 0.0  # when the gate last began to do something
        self.left_at: float | None = None
        self.faults: list[str] = []
        self.writes = 0
        self.heartbeats = 0
        self.serving: asyncio.Task[None] | None = None  # what to cancel when it has left and nobody else is there
        self.left = False  # while others wanted the reply
        self.stays = False
        self._reading: asyncio.Future[None] | None = None  # it takes its time, and the gate waits
        self._flight: Flight | None = None
        self._slow_s = slow_s
        self._stuck_after = stuck_after
        self._started = False

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        self._begin(status, headers)
        await self._pace()
        self.body = body
        self._end("whole")

    async def start(self, status: int, headers: Headers) -> None:
        self._begin(status, headers)
        self._started = True

    async def write(self, data: bytes) -> None:
        self._act()
        if not self._started or self.ended:
            self.faults.append("write outside of a stream")
        if self._flight is not None:
            self._flight.keep(data)
        self.body += data
        self.writes += 1
        await self._pace()

    async def end(self) -> None:
        self._act()
        if not self._started or self.ended:
            self.faults.append("end outside of a stream")
        self._refuse_if_gone()
        self._end("end")
        if self._flight is not None:
            self._flight.end()

    def heartbeat(self) -> None:
        if not self._started or not self.body or self.ended:
            self.faults.append("heartbeat before the first event or after the last")
        self.heartbeats += 1

    def abort(self) -> None:
        self._end("abort")

    def leave(self) -> None:
        if self.ended is None:
            self.left_at = asyncio.get_running_loop().time()

    def hang_up(self, serving: asyncio.Task[None]) -> None:
        """Leaves, and the gate notices."""
        self.leave()
        if self.stays:
            self.left, self.serving = True, serving
        else:
            serving.cancel()

    def share(self, flight: Flight | None) -> None:
        self._flight = flight

    def stay(self) -> None:
        self.stays = True
        if self._reading is not None and not self._reading.done():
            self._reading.set_result(None)

    def go(self) -> None:
        self.stays = False
        if self.left and self.serving is not None:
            self.serving.cancel()

    def _act(self) -> None:
        self.acted_at = asyncio.get_running_loop().time()

    def _begin(self, status: int, headers: Headers) -> None:
        self._act()
        if self.status is not None:
            self.faults.append(f"a second head, {status} after {self.status}")
        self._refuse_if_gone()
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}

    async def _pace(self) -> None:
        self._refuse_if_gone()
        if self.stays:
            return
        if self._stuck_after is not None and self.writes > self._stuck_after:
            await self._take(STUCK_S)
        if self._slow_s:
            await self._take(self._slow_s)
        self._refuse_if_gone()

    async def _take(self, seconds: float) -> None:
        self._reading = asyncio.get_running_loop().create_future()
        await asyncio.wait((self._reading,), timeout=seconds)
        self._reading = None

    def _refuse_if_gone(self) -> None:
        if self.left_at is not None and not self.stays:
            raise ConnectionResetError("the client has left")

    def _end(self, how: Ended) -> None:
        if self.ended is not None:
            self.faults.append(f"{how} after {self.ended}")
        self.ended = how


class Gate(Protocol):
    clock: Clock
    dialect: Dialect
    pipeline: Pipeline
    snapshot: Snapshot


class Habits(Struct, frozen=True):
    """What one client is like."""

    name: str
    calls: int
    stream_share: float
    leaves_share: float
    slow_share: float
    stuck_share: float
    deadline_share: float
    run: str | None = None


class Asking(Struct):
    """One call as its client remembers it."""

    call: Call
    wire: Wire
    cancelled: bool = False  # the handler was cancelled, as aiohttp does when a connection closes


class Sdk:
    def __init__(self, habits: Habits, gate: Gate, rng: Random, models: tuple[str, ...]) -> None:
        self.asked: list[Asking] = []
        self._habits = habits
        self._gate = gate
        self._rng = rng
        self._models = models

    async def run(self) -> None:
        for _ in range(self._habits.calls):
            await asyncio.sleep(self._rng.uniform(0, 5))
            await self._ask_with_retries()

    async def _ask_with_retries(self) -> None:
        raw = self._body()
        for retry in range(1 + RETRIES):
            wire = await self._ask(raw, retry)
            wait = self._again_in(wire)
            if wait is None:
                return
            await asyncio.sleep(wait if wait else 0.5 * (1 << retry))

    async def _ask(self, raw: bytes, retry: int) -> Wire:
        rng, habits = self._rng, self._habits
        wire = Wire(
            slow_s=rng.uniform(0.05, 1.0) if rng.random() < habits.slow_share else 0.0,
            stuck_after=rng.randint(1, 5) if rng.random() < habits.stuck_share else None,
        )
        asking = Asking(self._call(raw, retry), wire)
        self.asked.append(asking)
        serving = asyncio.get_running_loop().create_task(
            self._gate.pipeline.serve(asking.call, wire, self._gate.snapshot)
        )
        leaving = self._leaving(asking, serving) if rng.random() < habits.leaves_share else None
        again = asyncio.get_running_loop().create_task(self._ask_meanwhile(asking, serving))
        await asyncio.wait((serving,))
        if leaving is not None:
            leaving.cancel()
        await again
        if not serving.cancelled():
            serving.result()  # a defect that escaped `serve` fails the run
        return wire

    async def _ask_meanwhile(self, asking: Asking, serving: asyncio.Task[None]) -> None:
        """The same again on another connection, where the first one's answer is late."""
        rng, call = Random(asking.call.id), asking.call
        if call.client_retry < RETRIES and rng.random() < IMPATIENT_SHARE:
            await asyncio.wait((serving,), timeout=rng.uniform(0.0, 4.0))
            if not serving.done():
                await self._ask(call.raw, call.client_retry + 1)

    def _leaving(self, asking: Asking, serving: asyncio.Task[None]) -> asyncio.TimerHandle:
        notices = self._rng.random() < 0.8  # else the gate finds out by its next write

        def leave() -> None:
            if notices:
                asking.cancelled = True
                asking.wire.hang_up(serving)
            else:
                asking.wire.leave()

        return asyncio.get_running_loop().call_later(self._rng.expovariate(1 / 1.5), leave)

    def _again_in(self, wire: Wire) -> float | None:
        """Seconds; 0: its own back-off; None: not again."""
        if wire.left_at is not None or wire.status not in RETRIED:
            return None
        if wire.headers.get("x-should-retry") == "false":
            return None
        hint = wire.headers.get("retry-after-ms"), wire.headers.get("retry-after")
        seconds = float(hint[0]) / 1000 if hint[0] else float(hint[1] or 0)
        return seconds if seconds <= RETRY_AFTER_MAX_S else None

    def _body(self) -> bytes:
        rng = self._rng
        body: dict[str, object] = {"model": rng.choice(self._models)}
        body["messages"] = [{"role": "user", "content": "word " * rng.randint(1, 400)}]
        if rng.random() < self._habits.stream_share:
            body["stream"] = True
            if rng.random() < 0.3:
                body["stream_options"] = {"include_usage": True}
        if rng.random() < 0.3:
            body["n"] = rng.randint(1, 3)
        if rng.random() < 0.7:
            body["max_tokens"] = rng.randint(1, 60)
        return json.dumps(body).encode()

    def _call(self, raw: bytes, retry: int) -> Call:
        gate, rng = self._gate, self._rng
        head = gate.dialect.read("chat", raw, "application/json")
        route = gate.snapshot.planner.routes.find(head.model)
        now, id = gate.clock.now(), gate.clock.id()
        agent = self._habits.name
        allowed = gate.snapshot.rules(agent).deadline_s
        if rng.random() < self._habits.deadline_share:
            allowed = rng.choice((0.0, rng.uniform(0.1, 1.0), rng.uniform(1.0, 10.0)))
        return Call(
            id=id,
            endpoint="chat",
            dialect="openai",
            route=route.name if route is not None else "",
            head=head,
            raw=raw,
            identity=Identity(key_id=f"key-{agent}", agent=agent, team="team", run=self._habits.run),
            arrived_at=now,
            arrived_wall=gate.clock.wall(),
            deadline=now + allowed,
            input_tokens_estimate=input_estimate(raw),
            trace_id=id,
            client_retry=retry,
        )
