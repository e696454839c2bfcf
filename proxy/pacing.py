"""The rate limits of a process that serves: made from its configuration, changed with it, shown in its metrics.

Every process takes its part of each limit, an equal one; none asks another, but for limits of keys and agents that
several gates count together (`proxy.sharing`). Which calls fit is decided in
`proxy.money.rate_limits` for keys and agents, and in `proxy.execution.permits` for targets; which are let in at all,
in `proxy.execution.admission`.
"""

from __future__ import annotations

from functools import partial

from policies.rate_limit import Account
from policies.usual_output import UsualOutput
from proxy.assembly import Assembly
from proxy.execution.admission import Admission
from proxy.execution.line import Progress, nothing_yet
from proxy.execution.off_peak import OffPeak
from proxy.execution.permits import Permits
from proxy.money.rate_limits import RateLimits
from proxy.sharing import Sharing
from proxy.telemetry.metrics import Metrics


class Pacing:
    def __init__(
        self,
        assembly: Assembly,
        metrics: Metrics,
        progress: Progress = nothing_yet,
        shared: Sharing | None = None,
    ) -> None:
        clock, paces = assembly.tools.clock, assembly.present.paces
        share = 1 / assembly.config.server.workers
        usual = UsualOutput()
        self._assembly = assembly
        self._metrics = metrics
        self.rates = RateLimits(
            paces.accounts,
            clock,
            usual=usual,
            on_refused=metrics.rate_limited,
            queueing=paces.queueing,
            waits=metrics.queues,
            opening=partial(Account, share=share) if shared is None else shared.opening,
        )
        self.rates.common = None if shared is None else shared.rates
        self.permits = Permits(
            paces.targets,
            clock,
            usual=usual,
            on_refused=metrics.rate_limited,
            queueing=paces.queueing,
            waits=metrics.queues,
            share=share,
            progress=progress,
        )
        self.admission = Admission(self.permits, clock)
        self.off_peak = self.admission.off_peak = OffPeak(
            clock, self.permits, rates=self.rates, p99_s=self.admission.p99_s, heard=metrics.held
        )
        metrics.watch("bound_hits_total", lambda: self.admission.shed, "shed")
        metrics.watch("bound_hits_total", lambda: self.off_peak.turned_away, "held")
        metrics.watch("bound_hits_total", lambda: self.rates.dropped, "rate_accounts")
        metrics.watch("bound_hits_total", lambda: self.rates.turned_away + self.permits.turned_away, "waiting")
        self._watch()

    def __repr__(self) -> str:
        return f"Pacing({self.rates}, {self.permits})"

    def renew(self) -> None:
        """The configuration has changed; what was taken stays taken."""
        paces = self._assembly.present.paces
        self.rates.replace(paces.accounts, paces.queueing)
        self.permits.replace(paces.targets, paces.queueing)
        self._watch()

    def _watch(self) -> None:
        for target in self._assembly.present.metered:
            for kind in ("requests", "tokens"):
                read = partial(self.permits.ratio, target.id, kind)
                self._metrics.watch("upstream_ratelimit_remaining_ratio", read, target.id, kind)
