"""Mode `single`: one answer from one of a step's targets, with plain retries until the first byte of the reply.

Every retry is an attempt of its own, with its own hold, and is taken out of the one attempt budget that the whole
gate shares. A target that was not tried yet is tried at once; going back to one that failed waits for the jittered
delay or for the upstream's own hint. No retry begins that the deadline would not see through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from policies import route
from policies.retry import AttemptBudget, Retry
from proxy.errors import ProxyError
from proxy.execution.attempt import Bench, Exchange, Timeouts
from proxy.execution.reading import Reading
from proxy.execution.record import Record
from proxy.providers.base import Provider
from proxy.types import Plan, Role, Target

Answer = tuple[Exchange, Reading]  # nothing of it was written to the client yet


class Race:
    def __init__(self, bench: Bench, attempt_budget: AttemptBudget) -> None:
        self._bench = bench
        self._budget = attempt_budget
        self._rng = bench.clock.rng("race")

    async def run(
        self, record: Record, plan: Plan, *, providers: Mapping[str, Provider], retry: Retry, timeouts: Timeouts
    ) -> Answer:
        """The exchange whose first event is in hand. Raises the last attempt's ProxyError when none got that far."""
        targets = plan.steps[0]
        tried: tuple[Target, ...] = ()
        while True:  # bounded by retry.attempts
            target = route.pick(targets, tried, self._rng)
            role: Role = "retry" if tried else "first"
            exchange = Exchange(self._bench, record, providers[target.provider], target, role=role)
            try:
                reading = await exchange.open(timeouts)
            except ProxyError as error:
                tried = (*tried, target)
                delay = self._delay_s(record, error, retry, again=len(tried) >= len(targets), number=len(tried))
                if delay is None:
                    raise
                if delay > 0:
                    await asyncio.sleep(delay)
                    record.upstream_s += delay  # the pause is the upstream's doing, not the gate's overhead
                continue
            self._budget.deposit(self._bench.clock.now())
            record.served_by = "primary" if not tried else ("retry" if target in tried else "fallback")
            return exchange, reading

    def _delay_s(self, record: Record, error: ProxyError, retry: Retry, *, again: bool, number: int) -> float | None:
        """Seconds until the next attempt; None when this error is the call's end."""
        delay = retry.delay_s(number, error, self._rng)
        if delay is None:
            return None
        if not again:
            delay = 0.0
        now = self._bench.clock.now()
        if now + delay >= record.call.deadline or not self._budget.withdraw(now):
            return None
        return delay
