"""The rate limits of a process that serves: made from its configuration, changed with it, shown in its metrics.

Every process takes its part of each limit, an equal one; none asks another. Which calls fit is decided in
`proxy.money.rate_limits` for keys and agents, and in `proxy.execution.permits` for targets.
"""

from __future__ import annotations

from functools import partial

from policies.usual_output import UsualOutput
from proxy.assembly import Assembly
from proxy.execution.permits import Permits
from proxy.money.rate_limits import RateLimits
from proxy.snapshot import Snapshot
from proxy.telemetry.metrics import Metrics


class Pacing:
    def __init__(self, assembly: Assembly, metrics: Metrics) -> None:
        clock, paces = assembly.tools.clock, assembly.present.paces
        share = 1 / assembly.config.server.workers
        usual = UsualOutput()
        self._assembly = assembly
        self._metrics = metrics
        self._present = assembly.present
        self.rates = RateLimits(
            paces.accounts,
            clock,
            usual=usual,
            on_refused=metrics.rate_limited,
            queueing=paces.queueing,
            waits=metrics.queues,
            share=share,
        )
        self.permits = Permits(
            paces.targets,
            clock,
            usual=usual,
            on_refused=metrics.rate_limited,
            queueing=paces.queueing,
            waits=metrics.queues,
            share=share,
        )
        metrics.watch("bound_hits_total", lambda: self.rates.dropped, "rate_accounts")
        metrics.watch("bound_hits_total", lambda: self.rates.turned_away + self.permits.turned_away, "waiting")
        self._watch()

    def __repr__(self) -> str:
        return f"Pacing({self.rates}, {self.permits})"

    def snapshot(self) -> Snapshot:
        """The one in force; the first call after a reload brings its limits into force."""
        present = self._assembly.present
        if present is not self._present:
            self._present = present
            self.rates.replace(present.paces.accounts, present.paces.queueing)
            self.permits.replace(present.paces.targets, present.paces.queueing)
            self._watch()
        return present.snapshot

    def _watch(self) -> None:
        for target in self._present.metered:
            for kind in ("requests", "tokens"):
                read = partial(self.permits.ratio, target.id, kind)
                self._metrics.watch("upstream_ratelimit_remaining_ratio", read, target.id, kind)
