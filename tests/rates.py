"""Rate limits for tests: by default there are none."""

from __future__ import annotations

from policies.provider_limits import TargetRules
from policies.rate_limit import RateRules
from policies.usual_output import UsualOutput
from proxy.clock import Clock
from proxy.execution.line import Queueing
from proxy.execution.permits import Permits
from proxy.money.rate_limits import RateLimits


class Refusals:
    """What was told of refused calls."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def __call__(self, agent: str, kind: str) -> None:
        self.told.append((agent, kind))


def rate_limits(clock: Clock, rules: RateRules | None = None, queueing: Queueing | None = None) -> RateLimits:
    return RateLimits(rules or RateRules(), clock, usual=UsualOutput(), on_refused=Refusals(), queueing=queueing)


def permits(clock: Clock, rules: TargetRules | None = None, queueing: Queueing | None = None) -> Permits:
    return Permits(rules or TargetRules(), clock, usual=UsualOutput(), on_refused=Refusals(), queueing=queueing)
