"""The way of a call, top to bottom: what is asked, in which order, and why there.

`Pipeline.serve` is the only place where an error becomes a response, and it ends in `finish` whatever happens. Before
the first byte to the client an error is a value with a status code; after it, an event in the stream and an aborted
connection.
"""

from __future__ import annotations

import asyncio

from policies import budget, gates
from policies.cache_rules import CacheRules
from policies.plan import CALM
from policies.refusal import limits_in_words
from policies.runs import Run
from proxy.caching.recalled import Recalled
from proxy.delivery import Delivery
from proxy.draining import can_be_joined, drain
from proxy.errors import ProxyError
from proxy.execution.bench import rules_of
from proxy.execution.easing import Easing
from proxy.execution.flights import Flights
from proxy.execution.following import Following, join
from proxy.execution.off_peak import HELD
from proxy.execution.purse import Purse, SidePurse
from proxy.execution.record import Record
from proxy.execution.running import Running
from proxy.fail_soft import FailSoft, of_its_run
from proxy.parts import Parts, Shared
from proxy.relay import Downstream
from proxy.renewal import Nobody, renewal
from proxy.snapshot import AgentRules, Snapshot
from proxy.telling import tell
from proxy.types import Call, Plan

HOLD_LEAST_S = 60.0
LAST_WORDS_S = 1.0  # for the calls that a stop has ended to tell their clients so


class Pipeline:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.begun = 0
        self._easing = Easing(parts.clock, parts.denied)
        self._serving: set[Running] = set()
        self._flights = Flights()
        self._delivery = Delivery(parts)
        self._soft = FailSoft(parts.clock, parts.dialect)

    @property
    def in_flight(self) -> int:
        return self.begun - self._parts.finish.ended

    async def serve(self, call: Call, downstream: Shared, snapshot: Snapshot) -> Record:
        """What became of it."""
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
            if run is not None and self._parts.loops is not None:
                self._parts.loops.spent(record.call, run.id, record.attempts)
        return record

    async def drain(self, grace_s: float) -> None:
        """Calls that run may end within `grace_s`; those that do not, or wait for a quiet time, are ended, each with an
        error that says why."""
        self._interrupt(tuple([running for running in self._serving if running.record.held == HELD]))
        if self._serving:
            await asyncio.wait([running.task for running in self._serving], timeout=grace_s)
        self._interrupt(tuple(self._serving))
        if self._serving:
            await asyncio.wait([running.task for running in self._serving], timeout=LAST_WORDS_S)

    def _interrupt(self, those: tuple[Running, ...]) -> None:
        for running in those:
            running.interrupt(ProxyError("shutting_down", "The gate is stopping."))

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
        purse = SidePurse if call.cause else Purse
        return Record(call, purse(self._parts.store, call.id, budget.path(call, runs), ttl_s))

    async def _answer(self, running: Running, downstream: Shared, snapshot: Snapshot) -> None:
        record, parts, call = running.record, self._parts, running.record.call
        # The deadline first: free, without state, and a dead call must not take anything from any limit.
        refusal = gates.deadline(call, parts.clock.now()) or (gates.hops(call) if call.hops else None)
        if refusal is not None:
            raise refusal
        # The run: needs nothing but its own counters, and precedes everything that costs or waits.
        rules = snapshot.rules(call.identity.agent)
        if running.run is not None:
            call = await self._in_run(running, running.run, rules)
        # The ledger next: what cannot be recorded must not be spent.
        if not parts.ledger_accepting():
            raise ProxyError("ledger_unavailable", "The ledger cannot take new calls now.", retry_after_s=1.0)
        # The permission before the plan: who may not use a model need not learn whether it has a price.
        refusal = gates.allowed(call, rules.models, snapshot.planner.routes) if call.route else None
        if refusal is not None:
            raise refusal
        # What has hours waits for a quiet time here: it takes no place of any limit meanwhile, and nobody joins it.
        if call.priority == "batch" and parts.admission.off_peak is not None:
            call = await parts.admission.off_peak.hold(record, snapshot)
        # The rates before the plan: they protect all that follows, and a refusal takes nothing.
        if parts.rates.limited:
            await self._in_turn(record)
        # What is known, and the same call in flight, before the budget: they cost nothing, so nothing is held for them.
        if rules.cache.asks or call.reuse is not None or call.client_retry:
            if await self._recalled(running, downstream, rules.cache, snapshot):
                return
        else:
            record.flight = self._flights.begin(call, downstream)
        # The budget before the plan: near its end the plan is a cheaper one, or the call waits for it to ease.
        if record.purse.limited and record.pressed():
            record.pressure = await self._easing.pressure(record, rules.on_budget, most=snapshot.limits.eased_max)
        record.plan = plan = self._planned(record, rules, snapshot)
        # Money is held by each attempt, just before it is sent; a refusal above has held nothing.
        means = rules_of(rules, snapshot)
        # Whether a question that means the same was answered, last: to ask that costs an embedding and takes a while.
        if rules.cache.semantic is not None and parts.semantic is not None:
            similar = await parts.semantic.recall(record, rules.cache, snapshot)
            if await self._give(running, downstream, similar, snapshot):
                return
        if plan.members:
            answer = await parts.executors[plan.mode].run(record, plan, means, snapshot)
        else:
            # The gate of its pool last of all that waits: whoever stands there holds nothing.
            await parts.let_in(running, plan)
            answer = await parts.race.run(record, plan, means)
        await self._delivery.answer(record, downstream, answer, rules=means, snapshot=snapshot)
        if running.run is not None:
            self._soft.keep(running, answer[1])

    def _planned(self, record: Record, rules: AgentRules, snapshot: Snapshot) -> Plan:
        """Raises ProxyError."""
        call, race = record.call, self._parts.race
        plan = snapshot.planner.plan(call, record.pressure or CALM, ladder=rules.on_budget, usual=race.usual)
        # Is it worth it? After the plan, which knows the targets, and before anything is held or waits.
        # A cascade asks it of each rung: where the first has no room, there is another.
        if not isinstance(plan, ProxyError) and plan.mode != "cascade" and call.hurry != "patient":
            plan = self._parts.admission.admit(call, plan)
        if isinstance(plan, ProxyError):
            raise plan
        if plan.arm is not None and self._parts.trials is not None:
            self._parts.trials.begin(record, plan.arm, snapshot)
        return plan

    async def _in_run(self, running: Running, run: Run, rules: AgentRules) -> Call:
        """Counted into its run, and ending with it. Raises ProxyError."""
        loops, record = self._parts.loops, running.record
        refusal = self._parts.runs.admit(running, rules.run)
        if refusal is None:
            running.bounded()
            # Whether it goes round in circles, next: needs its own request and what its run did before.
            if rules.loops.mode != "off" and loops is not None and not record.call.cause:
                refusal = await loops.admit(record, run, rules.loops)
        if refusal is not None:
            raise refusal
        return record.call

    async def _in_turn(self, record: Record) -> None:
        """Once the limits of its key and agent have room. The wait is theirs, not the gate's overhead. Raises
        ProxyError."""
        came = self._parts.clock.now()
        record.quota = self._parts.rates.quota(record.call)
        refusal = await record.quota.admit() if record.quota is not None else None
        now = self._parts.clock.now()
        record.upstream_s += now - came
        record.spent("queue", "rate limits", came, now)
        if refusal is not None:
            raise refusal

    async def _recalled(self, running: Running, downstream: Shared, rules: CacheRules, snapshot: Snapshot) -> bool:
        """Whether it has got an answer that was known."""
        known = await self._known(running.record, downstream, rules, snapshot)
        return await self._give(running, downstream, known, snapshot)

    async def _known(
        self, record: Record, downstream: Shared, rules: CacheRules, snapshot: Snapshot
    ) -> Recalled | Following | None:
        """An answer that costs nothing. None: there is none, and this call is the one that others may join."""
        caches, call, came = self._parts.caches, record.call, self._parts.clock.now()
        if rules.asks or call.reuse is not None:
            caches.want(record, rules, snapshot.revision_of(call) if snapshot.experiments else snapshot.revision)
        recalled = caches.recall(record, rules)
        if recalled is not None:
            record.spent("cache", "", came, self._parts.clock.now())
            return recalled
        following = await join(self._flights, record, self._parts.clock)
        if following is not None:
            return following
        record.flight = self._flights.begin(call, downstream, record.wanted)  # before anything that waits
        if record.wanted is not None:
            recalled = await caches.look(record, rules)
            record.spent("cache", "", came, self._parts.clock.now())
        if recalled is None and call.reuse is not None and call.reuse.only:
            raise ProxyError("not_cached", "There is no known answer to this request, and it asked for nothing else.")
        return recalled

    async def _give(
        self, running: Running, downstream: Shared, known: Recalled | Following | None, snapshot: Snapshot
    ) -> bool:
        """False: there is none."""
        if known is None:
            return False
        if isinstance(known, Recalled) and known.renew is not None:
            self._parts.tasks.start("renewal", self._renew(running.record.call, known.renew, snapshot))
        await self._delivery.known(running.record, downstream, known, snapshot)
        self._soft.keep(running, known)
        return True

    async def _renew(self, call: Call, entry: bytes, snapshot: Snapshot) -> None:
        try:
            await self.serve(renewal(call, self._parts.clock), Nobody(), snapshot)
        finally:
            self._parts.caches.renewed(entry)

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
        error = of_its_run(running, error, self._parts.clock.now())
        for limit in limits_in_words(error):
            running.record.decided(self._parts.clock.now(), limit)
        if not await self._soft.answered(running, downstream, error):
            await tell(running.record, downstream, error, self._parts.dialect)

    async def _close(self, record: Record, snapshot: Snapshot) -> None:
        """Exactly one outcome. What is not at its end when the client leaves is brought there by a task: a settlement
        that was interrupted after the reply had gone out, or a reply that the provider bills on regardless."""
        self._parts.caches.drop(record)
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
