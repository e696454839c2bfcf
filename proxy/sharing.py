"""What a gate shares with others, where its configuration names a store for it; else nothing of that is even loaded."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

from policies.rate_limit import Account, Rates
from proxy.assembly import Assembly
from proxy.caching.desk import Elsewhere
from proxy.money.rate_limits import Common
from proxy.state.shared_store import connect
from proxy.tasks import Tasks
from proxy.telemetry.log import RequestLog
from proxy.telemetry.metrics import Metrics


class Sharing(Protocol):
    @property
    def rates(self) -> Common: ...

    @property
    def answers(self) -> Elsewhere | None:
        """None: no answer may leave the process."""
        ...

    @property
    def dropped(self) -> int:
        """Answers that did not get out of the process, as too many were on their way."""
        ...

    def opening(self, name: str, rates: Rates) -> Account:
        """An account that counts with those of other gates."""
        ...

    def health(self) -> str:
        """`ok` or `out`."""
        ...

    async def keep(self) -> None: ...

    async def close(self) -> None: ...


def sharing(assembly: Assembly, tasks: Tasks, *, log: RequestLog, metrics: Metrics) -> Sharing | None:
    """None: nothing is shared."""
    shared, clock = assembly.config.shared, assembly.tools.clock
    if shared.redis is None:
        return None
    parts, heard = import_module("proxy.shared.together"), metrics.of_shared()
    store = connect(shared.redis.reveal(), shared.timeout_s)
    link = parts.Link(store, clock, timeout_s=shared.timeout_s, heard=heard, tell=log.event)
    heard.watch(lambda: link.breaker.state)
    secret = assembly.secret(b"shared answers") if assembly.config.caches.persist else None
    terms = parts.Terms(assembly.config.server.workers, shared.gates, shared.prefix, secret)
    made: Sharing = parts.Together(link, clock, tasks=tasks, terms=terms)
    metrics.watch("bound_hits_total", lambda: made.dropped, "shared_answers")
    return made
