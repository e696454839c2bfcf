"""The way of a call, top to bottom: what is asked, in which order, and why there.

`Pipeline.serve` is the only place where an error becomes a response, and it ends in `finish` whatever happens. Before
the first byte to the client an error is a value with a status code; after it, an event in the stream and an aborted
connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from msgspec import Struct

from policies import budget, gates
from policies.limits import Refusal
from policies.plan import CALM
from proxy import headers
from proxy.clock import Clock
from proxy.dialects.base import Dialect
from proxy.draining import can_be_joined, drain
from proxy.errors import ProxyError
from proxy.execution.admission import Admission
from proxy.execution.bench import Rules, rules_of
from proxy.execution.easing import Easing, unheard
from proxy.execution.flight import Flights, Sharing
from proxy.execution.following import Following, Joined, join
from proxy.execution.purse import Purse
from proxy.execution.race import Answer, Race
from proxy.execution.record import Record
from proxy.execution.running import Running
from proxy.finish import Finish
from proxy.joining import follow
from proxy.last_word import LastWord, unwritten
from proxy.money.rate_limits import RateLimits
from proxy.relay import Downstream, Patience
from proxy.runs.registry import Runs
from proxy.snapshot import Snapshot
from proxy.state.store import Store
from proxy.survival import Means, Stream
from proxy.tasks import Tasks
from proxy.telling import tell
from proxy.types import Call

HOLD_LEAST_S = 60.0
LAST_WORDS_S = 1.0  # for the calls that a stop has ended to tell their clients so


class Parts(Struct, frozen=True):
    """What the pipeline works with; made once, by the composition root."""

    clock: Clock
    dialect: Dialect
    race: Race
    store: Store
    rates: RateLimits
    admission: Admission
    runs: Runs
    finish: Finish
    tasks: Tasks
    ledger_accepting: Callable[[], bool]
    started: Callable[[str], None]  # told the route of every call that `finish` will be told of
    on_defect: Callable[[BaseException], None]  # an exception that is our own mistake
    denied: Callable[[Refusal], None] = unheard  # told of a wait for a budget that was in vain
    recorded: Callable[[], Awaitable[None]] = unwritten  # returns when all outcomes are on the disk; raises ProxyError


class Shared(Downstream, Sharing, Protocol):
    """A client whose call others may join."""


class Pipeline:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.begun = 0
        self._easing = Easing(parts.clock, parts.denied)
        self._serving: set[Running] = set()
        self._flights = Flights()

    @property
    def in_flight(self) -> int:
        return self.begun - self._parts.finish.ended

    async def serve(self, call: Call, downstream: Shared, snapshot: Snapshot) -> None:
        run = self._parts.runs.of(call.identity)
        record = self._begin(call, () if run is None else run.accounts)
        running = Running(record, run)
        self._serving.add(running)
        try:
            await self._answer(running, downstream, snapshot)
        except ProxyError as error:
            await self._end(running, downstream, error)
        except ConnectionError:
            record.client_gone = True
            downstream.abort()
        except asyncio.CancelledError:
            word = running.why()
            if word is None:
                record.client_gone = not record.delivered
                raise
            await self._give_up(running, downstream, word)
        except Exception as defect:
            self._parts.on_defect(defect)
            message = "The gate failed on this call; it was logged."
            await self._end(running, downstream, ProxyError("internal", message))
        finally:
            running.ending = True
            self._serving.discard(running)
            if run is not None:
                self._parts.runs.leave(running)
            if record.flight is not None and record.flight.joined and downstream.left:
                record.client_gone = True  # the call went on for those who had joined it
            await self._close(record, snapshot)
            running.settle()

    async def drain(self, grace_s: float) -> None:
        """Calls that run may end within `grace_s`; those that do not are ended, each with an error that says why."""
        if self._serving:
            await asyncio.wait([running.task for running in self._serving], timeout=grace_s)
        for running in tuple(self._serving):
            running.interrupt(ProxyError("shutting_down", "The gate is stopping."))
        if self._serving:
            await asyncio.wait([running.task for running in self._serving], timeout=LAST_WORDS_S)

    async def refuse(self, call: Call, downstream: Downstream, snapshot: Snapshot, error: ProxyError) -> None:
        """A call that could not be read far enough to be served still has one outcome."""
        record = self._begin(call)
        try:
            await tell(record, downstream, error, self._parts.dialect)
        finally:
            await self._close(record, snapshot)

    def _begin(self, call: Call, runs: tuple[str, ...] = ()) -> Record:
        self.begun += 1
        self._parts.started(call.route)
        ttl_s = max(HOLD_LEAST_S, 2 * (call.deadline - call.arrived_at))
        return Record(call, Purse(self._parts.store, call.id, budget.path(call, runs), ttl_s))

    async def _answer(self, running: Running, downstream: Shared, snapshot: Snapshot) -> None:
        record, parts, call = running.record, self._parts, running.record.call
        # The deadline first: free, without state, and a dead call must not take anything from any limit.
        refusal = gates.deadline(call, parts.clock.now()) or (gates.hops(call) if call.hops else None)
        if refusal is not None:
            raise refusal
        # The run: needs nothing but its own counters, and precedes everything that costs or waits.
        rules = snapshot.rules(call.identity.agent)
        refusal = parts.runs.admit(running, rules.run) if running.run is not None else None
        if refusal is not None:
            raise refusal
        # The ledger next: what cannot be recorded must not be spent.
        if not parts.ledger_accepting():
            raise ProxyError("ledger_unavailable", "The ledger cannot take new calls now.", retry_after_s=1.0)
        # The permission before the plan: who may not use a model need not learn whether it has a price.
        refusal = gates.allowed(call, rules.models, snapshot.planner.routes) if call.route else None
        if refusal is not None:
            raise refusal
        # The rates before the plan: they protect all that follows, and a refusal takes nothing.
        if parts.rates.limited:
            record.quota = parts.rates.quota(call)
            refusal = await record.quota.admit() if record.quota is not None else None
            if refusal is not None:
                raise refusal
        # The same call in flight before the budget: to join it costs nothing, so nothing is held for it.
        if call.client_retry:
            following = await join(self._flights, record, parts.clock)
            if following is not None:
                await self._follow(record, downstream, following, snapshot)
                return
        record.flight = self._flights.begin(call, downstream)
        # The budget before the plan: near its end the plan is a cheaper one, or the call waits for it to ease.
        if record.purse.limited:
            record.pressure = await self._easing.pressure(
                record.purse, rules.on_budget, deadline=call.deadline, waiting_max=snapshot.limits.eased_max
            )
        plan = snapshot.planner.plan(call, record.pressure or CALM, ladder=rules.on_budget, usual=parts.race.usual)
        # Is it worth it? After the plan, which knows the targets, and before anything is held or waits.
        admitted = plan if isinstance(plan, ProxyError) else parts.admission.admit(call, plan)
        if isinstance(admitted, ProxyError):
            raise admitted
        record.plan = plan = admitted
        # Money is held by each attempt, just before it is sent; a refusal above has held nothing.
        means = rules_of(rules, snapshot)
        exchange, reading = await parts.race.run(record, plan, means)
        if reading.streams:
            await self._stream(record, downstream, (exchange, reading), rules=means, snapshot=snapshot)
        else:
            await self._whole(record, downstream, (exchange, reading), snapshot)

    async def _follow(self, record: Record, downstream: Downstream, following: Following, snapshot: Snapshot) -> None:
        joined = (following, following)
        if not following.streams:
            await self._whole(record, downstream, joined, snapshot)
            return
        if snapshot.strict:
            downstream = LastWord(downstream, following, partial(self._settle_first, record, snapshot, joined))
        await follow(following, record, downstream=downstream, limits=snapshot.limits, clock=self._parts.clock)

    async def _whole(self, record: Record, downstream: Downstream, answer: Answer | Joined, snapshot: Snapshot) -> None:
        exchange, reading = answer
        await exchange.end("complete")  # settled before the write, so that the reply can say what it cost
        if not record.open:  # else a hedge that lost is read to its end by a task: see `_close`
            record.close()  # ... and so that nothing is held for as long as a slow client takes to read
        record.status, record.bytes_out = 200, len(reading.first)
        now = self._parts.clock.now()
        record.first_event_at = record.last_event_at = now
        if snapshot.strict:
            await self._record_first(record, snapshot)
        record.committed = True
        if record.flight is not None:
            record.flight.land(answer, record.plan)
        await downstream.whole(200, headers.of_reply(record, exchange, reading, now), reading.first)

    async def _stream(
        self, record: Record, downstream: Downstream, answer: Answer, *, rules: Rules, snapshot: Snapshot
    ) -> None:
        exchange, reading = answer
        parts, limits = self._parts, snapshot.limits
        patience = Patience(rules.timeouts.idle_s, limits.write_timeout_s, limits.heartbeat_s)
        record.in_events = reading.passage is not None
        if record.flight is not None:
            record.flight.take_off(answer, record.plan, limits.join_bytes_max)
        shown = headers.of_reply(record, exchange, reading, parts.clock.now())
        settle = partial(self._settle_first, record, snapshot) if snapshot.strict else None
        stream = Stream(Means(parts.clock, parts.dialect, parts.race, rules, patience), record, downstream)
        exchange, reading = await stream.carry(answer, shown, settle)
        # The client has its reply whole: a connection that it closes from here on changes nothing.
        record.delivered = True
        if record.finished:
            return
        if reading.cut_short:
            if exchange.abort != "continues":  # else `_close` has it read to its end, for the bill
                await exchange.end("abandoned")
            return
        try:
            await reading.read_trailer()
        finally:
            await exchange.end("complete")

    async def _settle_first(self, record: Record, snapshot: Snapshot, answer: Answer | Joined, size: int) -> None:
        """All of a stream but its last bytes has gone out."""
        exchange, reading = answer
        if not reading.cut_short:
            await reading.read_trailer()
            await exchange.end("complete")
        elif exchange.abort != "continues":
            await exchange.end("abandoned")
        record.bytes_out += size
        await self._record_first(record, snapshot)

    async def _record_first(self, record: Record, snapshot: Snapshot) -> None:
        """The call's row is on the disk when this returns; not where a provider that bills on is still being read."""
        if not record.open:
            await self._parts.finish.finish(record, snapshot.version)
            await self._parts.recorded()

    async def _give_up(self, running: Running, downstream: Downstream, word: ProxyError) -> None:
        """Ends a call that was interrupted: first the bill, then the client, who may be slow to listen."""
        for exchange in tuple(running.record.open):
            if exchange.abort != "continues":  # those are read to their end by a task: see `_close`
                await exchange.end("abandoned", word)
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await self._end(running, downstream, word)
        except TimeoutError:
            downstream.abort()

    async def _end(self, running: Running, downstream: Downstream, error: ProxyError) -> None:
        if running.record.flight is not None:
            running.record.flight.fail(error)
        if not running.record.open:
            running.record.close()  # nothing is held for as long as a slow client takes to listen
        running.settle()
        await tell(running.record, downstream, error, self._parts.dialect)

    async def _close(self, record: Record, snapshot: Snapshot) -> None:
        """Exactly one outcome. What is not at its end when the client leaves is brought there by a task: a settlement
        that was interrupted after the reply had gone out, or a reply that the provider bills on regardless."""
        drains = record.open and (record.delivered or any(exchange.abort == "continues" for exchange in record.open))
        if record.flight is not None and not (drains and can_be_joined(record)):
            record.flight.close()
        if drains and not record.finished:
            self._parts.tasks.start("drain", self._drain(record, snapshot))
            return
        if not record.finished:
            await self._parts.finish.finish(record, snapshot.version)
        record.let_go()

    async def _drain(self, record: Record, snapshot: Snapshot) -> None:
        try:
            await drain(record, snapshot.limits.drain_s)
        finally:  # what is still open is settled by the abort rule
            if record.flight is not None:
                record.flight.close()
            await self._parts.finish.finish(record, snapshot.version)
            record.let_go()
