"""The worlds that are measured, and the figures to reach in each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from loadtests.replay.traces import CONVERSATION, SESSIONS

from . import laws, traces
from .play import Played
from .upstreams import Drawn, Law, Limited, Replicas, Request, Upstreams

COUNT = 10_000
RATE = 40.0
PLACES, SERVICE_S = 8, 0.2
CAPACITY = 2 * PLACES / SERVICE_S  # requests a second
PATIENCE_S = 2.0  # of the overload's clients

Measure = Callable[[Played, Mapping[str, Played]], float]


@dataclass(frozen=True)
class Goal:
    """A figure of a side, of the others too where it is a comparison, and the bound that it should keep."""

    name: str
    measure: Measure
    op: Literal["<=", ">="]
    bound: float
    digits: int = 2

    def met(self, value: float) -> bool:
        return value <= self.bound if self.op == "<=" else value >= self.bound


@dataclass(frozen=True)
class Scenario:
    name: str
    about: str
    requests: Sequence[Request]
    upstreams: Callable[[], Upstreams]  # made on the loop that it runs on
    goals: tuple[Goal, ...]
    timeout_s: float = 5.0  # of one try, for every side
    patience_s: float = 600.0  # of a client
    own: bool = True  # engines of one's own, not a vendor's
    hedge_share: float | None = None  # of calls that an operator allows to be hedged, if anything but the default
    hedge_s: float | None = None  # a delay found by hand for this world, where one makes sense
    most_calls: float | None = None  # of the best that hindsight can do with one delay for all; None: not asked


def ratio(share: float) -> Measure:
    return lambda played, others: played.quantile(share) / played.quantile(0.5)


def less_than(base: str, share: float) -> Measure:
    """How much of the baseline's quantile is left."""
    return lambda played, others: played.quantile(share) / others[base].quantile(share)


def success(played: Played, others: Mapping[str, Played]) -> float:
    return played.success


def calls(played: Played, others: Mapping[str, Played]) -> float:
    return played.calls


def mean_against_least_requests(played: Played, others: Mapping[str, Played]) -> float:
    return played.mean_s / others["least requests"].mean_s


def back_s(heals_at: float) -> Measure:
    """Seconds after the bad replica has healed until it has a quarter of the calls of five seconds."""

    def measured(played: Played, others: Mapping[str, Played]) -> float:
        later = [(at - heals_at, target) for at, target in played.asked if at >= heals_at]
        for second in range(int(later[-1][0]) - 4 if later else 0):
            window = [target for at, target in later if second <= at < second + 5]
            if window and window.count(0) >= len(window) / 4:
                return float(second)
        return math.inf

    return measured


def amplification(begins: float, ends: float) -> Measure:
    """Upstream calls in the outage over the requests that came in it."""
    return lambda played, others: sum(begins <= at < ends for at, _ in played.asked) / (RATE * (ends - begins))


def recovery_s(ends: float) -> Measure:
    """Seconds after the outage until nothing fails any more."""
    return lambda played, others: max(0.0, max(played.failed_at, default=0.0) - ends)


def goodput(played: Played, others: Mapping[str, Played]) -> float:
    """Answers in time, as a share of what the upstreams can give while the load lasts."""
    lasted = max(played.served_at + played.failed_at)
    return sum(took <= PATIENCE_S for took in played.seconds) / (CAPACITY * lasted)


def tail(p99: float, p999: float, most_calls: float) -> tuple[Goal, ...]:
    return (
        Goal("p99/p50", ratio(0.99), "<=", p99, 1),
        Goal("p99.9/p50", ratio(0.999), "<=", p999, 1),
        Goal("calls", calls, "<=", most_calls, 3),
    )


def scenarios(seed: int, folder: Path | None, count: int = COUNT) -> list[Scenario]:
    """`folder`: where recorded traffic is, if anywhere."""
    return [
        *_small(seed, count),
        *_agents(seed, folder, count),
        _conversation(seed, folder, count),
        *_hard(seed, count),
    ]


def _small(seed: int, count: int) -> list[Scenario]:
    law = laws.lognormal(0.2, 0.35)
    straggling = laws.stragglers(law, 0.03, 10.0)
    heals_at = 0.68 * count / RATE
    ill = laws.sick(law, errors=0.3, hangs=0.02, heals_at=heals_at)
    arrivals = traces.poisson(RATE, count, seed)
    return [
        Scenario(
            "stragglers",
            "two replicas, log-normal 200 ms, 3 % stragglers x10, 40 rps",
            arrivals,
            partial(Drawn, [straggling] * 2, seed),
            tail(3.1, 4.3, 1.05),
            hedge_s=0.4,
            most_calls=1.05,
        ),
        Scenario(
            "sick replica",
            "one of two answers 500 to 30 % and hangs at 2 %; it heals after two thirds",
            arrivals,
            partial(Drawn, [ill, law], seed),
            (
                Goal("success", success, ">=", 0.9999, 4),
                *tail(2.4, 3.4, 1.06),
                Goal("back s", back_s(heals_at), "<=", 15.0, 0),
            ),
            hedge_s=0.4,
        ),
    ]


def _agents(seed: int, folder: Path | None, count: int) -> list[Scenario]:
    medians, slowdowns = traces.agents(folder, seed)
    arrivals = traces.by_group(medians, 10.0, count, seed=seed)
    base = laws.recorded(slowdowns)
    source = "recorded" if folder is not None and (folder / SESSIONS).exists() else "made-up"

    def world(name: str, about: str, law: Law, *goals: Goal, hedge_share: float | None = None) -> Scenario:
        upstreams = partial(Drawn, [law] * 2, seed)
        return Scenario(
            name,
            f"{source} agent calls, {about}",
            arrivals,
            upstreams,
            goals,
            timeout_s=600.0,
            own=False,
            hedge_share=hedge_share,
            hedge_s=10.0,
            most_calls=next(goal.bound for goal in goals if goal.name == "calls"),
        )

    def against(share: float, bound: float) -> Goal:
        return Goal(f"p{share * 100:g}, part", less_than("retry only", share), "<=", bound)

    return [
        world("agents a", "as they are", base, against(0.99, 1.0), against(0.999, 1.0), _extra(1.022)),
        world("agents b", "1 % stalls", laws.stalls(base, 0.01, 30.0, 120.0), against(0.999, 0.5), _extra(1.03)),
        world("agents c", "2 % x10", laws.stragglers(base, 0.02, 10.0), against(0.99, 0.35), _extra(1.04)),
        world(
            "agents d, 7 % hedges",
            "5 % x10",
            laws.stragglers(base, 0.05, 10.0),
            against(0.99, 0.3),
            _extra(1.065),
            hedge_share=0.07,
        ),
    ]


def _extra(bound: float) -> Goal:
    return Goal("calls", calls, "<=", bound, 3)


def _conversation(seed: int, folder: Path | None, count: int) -> Scenario:
    recorded = folder is not None and (folder / CONVERSATION).exists()
    return Scenario(
        "conversation",
        f"{'recorded' if recorded else 'made-up'} conversations, 8 replicas, half at half speed",
        traces.conversation(folder, seed)[: count if count < COUNT else None],
        partial(Replicas, [1.0, 0.5] * 4),
        (Goal("TTFT, part", mean_against_least_requests, "<=", 0.5), _extra(1.05)),
        timeout_s=600.0,
    )


def _hard(seed: int, count: int) -> list[Scenario]:
    law = laws.lognormal(0.2, 0.35)
    steady = laws.lognormal(SERVICE_S, 0.0)
    begins, ends = 0.24 * count / RATE, 0.48 * count / RATE
    return [
        Scenario(
            "outage",
            f"both replicas are gone for {ends - begins:g} s",
            traces.poisson(RATE, count, seed),
            partial(Drawn, [laws.outage(law, begins, ends)] * 2, seed),
            (
                Goal("amplification", amplification(begins, ends), "<=", 1.12),
                Goal("recovery s", recovery_s(ends), "<=", 15.0, 1),
            ),
        ),
        Scenario(
            "overload",
            "twice what two replicas can serve, clients wait 2 s",
            traces.poisson(2 * CAPACITY, count, seed),
            partial(Limited, [steady] * 2, seed, places=PLACES),
            (Goal("goodput", goodput, ">=", 0.9),),
            timeout_s=5.0,
            patience_s=PATIENCE_S,
        ),
    ]
