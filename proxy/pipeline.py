"""The way of a call, top to bottom: what is asked, in which order, and why there.

`Pipeline.serve` is the only place where an error becomes a response, and it ends in `finish` whatever happens. Before
the first byte to the client an error is a value with a status code; after it, an event in the stream and an aborted
connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct

from policies import budget, gates
from proxy import headers
from proxy.clock import Clock
from proxy.dialects.base import Dialect
from proxy.errors import ProxyError
from proxy.execution.attempt import Timeouts
from proxy.execution.purse import Purse
from proxy.execution.race import Answer, Race
from proxy.execution.record import Record
from proxy.finish import Finish
from proxy.relay import Downstream, Patience, Watch, relay
from proxy.snapshot import AgentRules, Limits, Snapshot
from proxy.state.store import Store
from proxy.tasks import Tasks
from proxy.types import Call

# Where the gate itself closes an exchange that could have gone on: the provider's abort rule says what that costs.
GAVE_UP = frozenset({"deadline_exceeded", "upstream_stalled"})
HOLD_LEAST_S = 60.0
LAST_WORDS_S = 1.0  # for the calls that a stop has ended to tell their clients so


class Parts(Struct, frozen=True):
    """What the pipeline works with; made once, by the composition root."""

    clock: Clock
    dialect: Dialect
    race: Race
    store: Store
    finish: Finish
    tasks: Tasks
    ledger_accepting: Callable[[], bool]
    started: Callable[[str], None]  # told the route of every call that `finish` will be told of
    on_defect: Callable[[BaseException], None]  # an exception that is our own mistake


class Pipeline:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.begun = 0
        self._serving: set[asyncio.Task[object]] = set()
        self._interrupted = False

    @property
    def in_flight(self) -> int:
        return self.begun - self._parts.finish.ended

    async def serve(self, call: Call, downstream: Downstream, snapshot: Snapshot) -> None:
        record = self._begin(call)
        task = asyncio.current_task()
        assert task is not None  # a handler is one
        self._serving.add(task)
        try:
            await self._answer(record, downstream, snapshot)
        except ProxyError as error:
            await self._tell(record, downstream, error)
        except ConnectionError:
            record.client_gone = True
            downstream.abort()
        except asyncio.CancelledError:
            if record.delivered or not self._interrupted:
                record.client_gone = True  # unless it had its reply whole: `_close` knows
                raise
            task.uncancel()  # it was `drain`: the client is still there and is told
            await self._tell(record, downstream, ProxyError("shutting_down", "The gate is stopping."))
        except Exception as defect:
            self._parts.on_defect(defect)
            await self._tell(record, downstream, ProxyError("internal", "The gate failed on this call; it was logged."))
        finally:
            self._serving.discard(task)
            await self._close(record, snapshot)

    async def drain(self, grace_s: float) -> None:
        """Calls that run may end within `grace_s`; those that do not are ended, each with an error that says why."""
        if self._serving:
            await asyncio.wait(tuple(self._serving), timeout=grace_s)
        self._interrupted = True
        for task in tuple(self._serving):
            task.cancel()
        if self._serving:
            await asyncio.wait(tuple(self._serving), timeout=LAST_WORDS_S)

    async def refuse(self, call: Call, downstream: Downstream, snapshot: Snapshot, error: ProxyError) -> None:
        """A call that could not be read far enough to be served still has one outcome."""
        record = self._begin(call)
        try:
            await self._tell(record, downstream, error)
        finally:
            await self._close(record, snapshot)

    def _begin(self, call: Call) -> Record:
        self.begun += 1
        self._parts.started(call.route)
        ttl_s = max(HOLD_LEAST_S, 2 * (call.deadline - call.arrived_at))
        return Record(call, Purse(self._parts.store, call.id, budget.path(call), ttl_s))

    async def _answer(self, record: Record, downstream: Downstream, snapshot: Snapshot) -> None:
        call = record.call
        parts = self._parts
        # The deadline first: free, without state, and a dead call must not take anything from any limit.
        refusal = gates.deadline(call, parts.clock.now())
        if refusal is not None:
            raise refusal
        # The ledger next: what cannot be recorded must not be spent.
        if not parts.ledger_accepting():
            raise ProxyError("ledger_unavailable", "The ledger cannot take new calls now.", retry_after_s=1.0)
        # The permission before the plan: who may not use a model need not learn whether it has a price.
        rules = snapshot.rules(call.identity.agent)
        refusal = gates.allowed(call, rules.models) if call.route else None
        if refusal is not None:
            raise refusal
        plan = snapshot.planner.plan(call)
        if isinstance(plan, ProxyError):
            raise plan
        record.plan = plan
        # Money is held by each attempt, just before it is sent; a refusal above has held nothing.
        timeouts = Timeouts(rules.first_token_timeout_s, snapshot.limits.reply_bytes_max)
        exchange, reading = await parts.race.run(
            record, plan, providers=snapshot.providers, retry=rules.retry, timeouts=timeouts
        )
        if reading.streams:
            await self._stream(record, downstream, (exchange, reading), rules=rules, limits=snapshot.limits)
        else:
            await self._whole(record, downstream, (exchange, reading))

    async def _whole(self, record: Record, downstream: Downstream, answer: Answer) -> None:
        exchange, reading = answer
        await exchange.end("complete")  # settled before the write, so that the reply can say what it cost
        record.purse.close()  # ... and so that nothing is held for as long as a slow client takes to read
        record.status, record.committed = 200, True
        record.bytes_out = len(reading.first)
        now = self._parts.clock.now()
        record.first_event_at = record.last_event_at = now
        await downstream.whole(200, headers.of_reply(record, exchange, reading, now), reading.first)

    async def _stream(
        self, record: Record, downstream: Downstream, answer: Answer, *, rules: AgentRules, limits: Limits
    ) -> None:
        exchange, reading = answer
        clock = self._parts.clock
        patience = Patience(rules.idle_timeout_s, limits.write_timeout_s, limits.heartbeat_s)
        record.in_events = reading.passage is not None
        watch = Watch(record.call, patience, downstream, in_events=record.in_events)
        shown = headers.of_reply(record, exchange, reading, clock.now())
        try:
            await relay(reading, downstream, record, headers=shown, watch=watch, clock=clock)
        except ProxyError as error:
            await exchange.end("abandoned" if error.code in GAVE_UP else "cut", error)
            raise
        # The client has its reply whole: a connection that it closes from here on changes nothing.
        record.delivered = True
        try:
            await reading.read_trailer()
        finally:
            await exchange.end("complete")

    async def _tell(self, record: Record, downstream: Downstream, error: ProxyError) -> None:
        """The error in the client's dialect: as a response, or as the last event of a stream that has begun."""
        record.error = error
        dialect = self._parts.dialect
        try:
            if not record.committed:
                record.status, body = dialect.error(error)
                record.bytes_out = len(body)
                await downstream.whole(record.status, headers.of_error(record, error), body)
                return
            if record.in_events and not error.forwarded:
                await downstream.write(dialect.error_event(error, record.call.endpoint))
            downstream.abort()
        except ConnectionError:
            record.client_gone = True
            downstream.abort()
        except asyncio.CancelledError:
            record.client_gone = True
            raise

    async def _close(self, record: Record, snapshot: Snapshot) -> None:
        """Exactly one outcome. What is not at its end when the client leaves is brought there by a task: a settlement
        that was interrupted after the reply had gone out, or a reply that the provider bills on regardless."""
        if record.delivered:
            record.client_gone = False
        if record.open and (record.delivered or any(exchange.abort == "continues" for exchange in record.open)):
            self._parts.tasks.start("drain", self._drain(record, snapshot))
            return
        await self._parts.finish.finish(record, snapshot.version)

    async def _drain(self, record: Record, snapshot: Snapshot) -> None:
        try:
            async with asyncio.timeout(snapshot.limits.drain_s):
                for exchange in tuple(record.open):
                    if record.delivered or (exchange.reading is not None and await exchange.reading.drain()):
                        await exchange.end("complete")
        except (TimeoutError, ProxyError):
            pass  # finish settles what is still open by the abort rule
        finally:
            await self._parts.finish.finish(record, snapshot.version)
