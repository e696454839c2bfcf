"""What one process shares with other gates through a store, connected, where the configuration names one.

Each process that serves has connections of its own, so none of them waits for another and a limit needs no second
arithmetic between them: in the store, a worker is one holder of slices like any other.
"""

from __future__ import annotations

import asyncio

from proxy.assembly import Assembly
from proxy.money.rate_limits import RateLimits
from proxy.shared.answers import SharedAnswers
from proxy.shared.link import BEAT_S, Link
from proxy.shared.rates import SharedRates
from proxy.state.shared_store import Store, connect
from proxy.tasks import Tasks
from proxy.telemetry.log import RequestLog
from proxy.telemetry.metrics import Metrics


class Sharing:
    def __init__(self, assembly: Assembly, tasks: Tasks, *, store: Store, log: RequestLog, metrics: Metrics) -> None:
        clock, shared, heard = assembly.tools.clock, assembly.config.shared, metrics.of_shared()
        self.link = Link(store, clock, timeout_s=shared.timeout_s, heard=heard, tell=log.event)
        heard.watch(lambda: self.link.breaker.state)
        self.rates = SharedRates(self.link, clock, tasks, shared.prefix)
        secret = assembly.secret(b"shared answers")
        answers = SharedAnswers(self.link, clock, tasks, prefix=shared.prefix, secret=secret)
        self.answers = answers if assembly.config.caches.persist else None  # else no answer leaves the process

    def __repr__(self) -> str:
        return f"Sharing({self.link}, {self.rates})"

    def health(self) -> str:
        return "ok" if self.link.up else "out"

    async def keep(self) -> None:
        """Until it is cancelled."""
        while True:
            if self.link.up:
                await self.rates.settle()
                if self.answers is not None:
                    await self.answers.settle()
                await self.link.beat()
            else:
                await self.link.probe()
            await asyncio.sleep(BEAT_S)

    async def close(self) -> None:
        await self.rates.close()
        await self.link.close()


def sharing(
    assembly: Assembly, tasks: Tasks, rates: RateLimits, *, log: RequestLog, metrics: Metrics
) -> Sharing | None:
    """None: nothing is shared. `rates` count with those of other gates from now on."""
    shared = assembly.config.shared
    if shared.redis is None:
        return None
    store = connect(shared.redis.reveal(), shared.timeout_s)
    made = Sharing(assembly, tasks, store=store, log=log, metrics=metrics)
    rates.common = made.rates
    return made
