"""Mode `single`: one answer from one of a step's targets, with plain retries until the first byte of the reply.

Every retry is an attempt of its own, with its own hold, and is taken out of the one attempt budget that the whole
gate shares. A target that was not tried yet is tried at once; going back to one that failed waits for the jittered
delay or for the upstream's own hint. No retry begins that the deadline would not see through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from policies import route
from policies.provider_limits import UNNAMED_REFUSAL_S
from policies.retry import AttemptBudget, Retry
from proxy.errors import ProxyError
from proxy.execution.attempt import Bench, Exchange, Timeouts
from proxy.execution.line import Claim
from proxy.execution.permits import Permit, Permits
from proxy.execution.reading import Reading
from proxy.execution.record import Record
from proxy.providers.base import Provider
from proxy.types import Call, Plan, Role, Target

RETURN_JITTER = 0.05

Answer = tuple[Exchange, Reading]  # nothing of it was written to the client yet


class Race:
    def __init__(self, bench: Bench, attempt_budget: AttemptBudget, permits: Permits) -> None:
        self._bench = bench
        self._permits = permits
        self._budget = attempt_budget
        self._rng = bench.clock.rng("race")

    def usual(self, call: Call, target: Target) -> int | None:
        """The output of one choice that half of such answers stay below, where that is known."""
        return self._bench.experience.expected(call, target).q50

    async def run(
        self, record: Record, plan: Plan, *, providers: Mapping[str, Provider], retry: Retry, timeouts: Timeouts
    ) -> Answer:
        """The exchange whose first event is in hand. Raises the last attempt's ProxyError when none got that far."""
        permits, call = self._permits, record.call
        targets = plan.steps[0]
        tried: tuple[Target, ...] = ()
        failed: ProxyError | None = None
        while True:  # bounded by retry.attempts
            claim = permits.claim(call)
            target = route.pick(permits.prefer(targets, tried, claim), tried, self._rng)
            permit = permits.at_once(target, claim) or await self._in_line(record, target, claim)
            if isinstance(permit, ProxyError):
                raise failed or permit
            role: Role = "retry" if tried else "first"
            exchange = Exchange(self._bench, record, providers[target.provider], target, role=role)
            exchange.permit = permit
            try:
                reading = await exchange.open(timeouts)
            except ProxyError as error:
                alone_s = self._learn(permit, exchange, error)
                tried, failed = (*tried, target), error
                again = all(other in tried for other in permits.prefer(targets, tried, claim))
                delay = self._delay_s(record, error, retry, least_s=alone_s if again else None, number=len(tried))
                if delay is None:
                    raise
                if delay > 0:
                    await asyncio.sleep(delay)
                    record.upstream_s += delay  # the pause is the upstream's doing, not the gate's overhead
                continue
            if limits := reading.limits:
                permit.learn(limits)
            self._budget.deposit(self._bench.clock.now())
            record.served_by = "primary" if not tried else ("retry" if target in tried else "fallback")
            return exchange, reading

    def _delay_s(
        self, record: Record, error: ProxyError, retry: Retry, *, least_s: float | None, number: int
    ) -> float | None:
        """Seconds until the next attempt; None when this error is the call's end. `least_s` None: it goes elsewhere."""
        delay = retry.delay_s(number, error, self._rng)
        if delay is None:
            return None
        delay = 0.0 if least_s is None else max(delay, least_s)
        now = self._bench.clock.now()
        if now + delay >= record.call.deadline or not self._budget.withdraw(now):
            return None
        return delay

    async def _in_line(self, record: Record, target: Target, claim: Claim) -> Permit | ProxyError:
        began = self._bench.clock.now()
        permit = await self._permits.acquire(target, claim)
        record.upstream_s += self._bench.clock.now() - began  # the wait is the target's doing, not the gate's overhead
        return permit

    def _learn(self, permit: Permit, exchange: Exchange, error: ProxyError) -> float:
        """What a failed attempt tells of the target's limits; for how long it is to be left alone."""
        refused = error.code == "upstream_overloaded"
        if exchange.reading is not None and not (refused and error.retry_after_s is not None):
            permit.learn(exchange.reading.limits)  # a refusal that says when to come back knows better than its figures
        if not refused:
            return 0.0
        hint = UNNAMED_REFUSAL_S if error.retry_after_s is None else error.retry_after_s
        alone_s = hint * (1 + RETURN_JITTER * self._rng.random())  # other gates were told the same
        permit.refused(alone_s)
        return alone_s
