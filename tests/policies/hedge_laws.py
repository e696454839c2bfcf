"""Laws of how long attempts take, and what hedging makes of them.

`python -m tests.policies.hedge_laws` prints the tables. The recorded laws draw from agent runs, by model and octave of
the output: time over the group's median; a second copy takes what another call of its group took.
"""

from __future__ import annotations

import gzip
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from msgspec import structs

from policies.first_token import FirstTokens
from policies.hedge import HedgeRules, Hedges
from proxy.types import Head, Target
from tests import build
from tests.conftest import TRACES
from tests.policies.hedge_world import DEADLINE_S, Breaker, Draw, Report, Request, World

SESSIONS = TRACES / "agent_sessions.jsonl.gz"
GROUP_LEAST = 200
CALL = build.call(head=Head(model="m", stream=True, fields={}))


@dataclass(frozen=True)
class LogNormal:
    """A share of stragglers takes `times` as long."""

    median: float = 0.2
    sigma: float = 0.35
    stragglers: float = 0.03
    times: float = 10.0

    def __call__(self, rng: Random, target: Target, now: float) -> tuple[float, bool]:
        slow = self.times if rng.random() < self.stragglers else 1.0
        return self.median * math.exp(rng.gauss(0.0, self.sigma)) * slow, True


@dataclass(frozen=True)
class Flaky:
    """One replica answers with errors, soon, and hangs at times."""

    usual: LogNormal = LogNormal(stragglers=0.0)
    errors: float = 0.3
    hangs: float = 0.02

    def __call__(self, rng: Random, target: Target, now: float) -> tuple[float, bool]:
        seconds, _ = self.usual(rng, target, now)
        if target.id == "b/m":
            point = rng.random()
            if point < self.errors:
                return 0.02, False
            if point < self.errors + self.hangs:
                return math.inf, True
        return seconds, True


REPLICAS = (build.target("a/m"), build.target("b/m"))


def poisson(
    law: Draw, *, rate: float = 40.0, requests: int, rng: Random, targets: tuple[Target, ...] = REPLICAS
) -> Iterator[Request]:
    now = 1000.0
    for _ in range(requests):
        now += rng.expovariate(rate)
        yield Request(now, structs.replace(CALL, arrived_at=now, deadline=now + DEADLINE_S), targets, law)


def played(
    requests: Iterable[Request], rng: Random, rules: HedgeRules | float | None, breaker: Breaker | None = None
) -> Report:
    known = FirstTokens()
    hedges = Hedges(rules, known) if isinstance(rules, HedgeRules) else rules
    return World(hedges, known, rng, breaker).run(requests)


# --- recorded agent calls --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recorded:
    """The primary is known by its instant."""

    own: float
    group: tuple[float, ...]
    twist: Callable[[Random, float], float]
    arrived: float

    def __call__(self, rng: Random, target: Target, now: float) -> tuple[float, bool]:
        return self.twist(rng, self.own if now == self.arrived else rng.choice(self.group)), True


def as_recorded(rng: Random, seconds: float) -> float:
    return seconds


def stalled(rng: Random, seconds: float) -> float:
    return seconds + rng.uniform(30, 120) if rng.random() < 0.01 else seconds


def straggling_2(rng: Random, seconds: float) -> float:
    return seconds * 10 if rng.random() < 0.02 else seconds


def straggling_5(rng: Random, seconds: float) -> float:
    return seconds * 10 if rng.random() < 0.05 else seconds


Groups = dict[tuple[str, int], list[float]]


def recorded_groups(path: Path = SESSIONS) -> Groups:
    groups: Groups = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            run = json.loads(line)
            for call in run["calls"] + [call for child in run.get("children", ()) for call in child["calls"]]:
                if call.get("api_s"):
                    groups.setdefault((call["model"], call["output"].bit_length()), []).append(call["api_s"])
    return {key: times for key, times in groups.items() if len(times) >= GROUP_LEAST}


def recorded(
    groups: Groups, twist: Callable[[Random, float], float], rng: Random, rate: float = 10.0
) -> Iterator[Request]:
    """Each group is a target of its own, as an octave of one model; arrivals are mixed."""
    drawn = [(key, own) for key, times in groups.items() for own in times]
    rng.shuffle(drawn)
    frozen = {key: tuple(times) for key, times in groups.items()}
    medians = {key: statistics.median(times) for key, times in groups.items()}
    targets = {key: (build.target(f"p{key[1]}/{key[0]}"),) for key in groups}
    now = 1000.0
    for key, own in drawn:
        now += rng.expovariate(rate)
        call = structs.replace(CALL, route=key[0], arrived_at=now, deadline=now + DEADLINE_S)
        yield Request(now, call, targets[key], Recorded(own, frozen[key], twist, now), medians[key])


LAWS = {"as recorded": as_recorded, "1 % stalls": stalled, "2 % x10": straggling_2, "5 % x10": straggling_5}


# --- tables ----------------------------------------------------------------------------------------------------------


def mean(reports: list[Report], figure: Callable[[Report], float]) -> float:
    return statistics.fmean(map(figure, reports))


def told(name: str, reports: list[Report]) -> str:
    p50 = mean(reports, lambda report: report.quantile(0.5))
    p99, p999 = (mean(reports, lambda report, share=share: report.ratio(share)) for share in (0.99, 0.999))
    extra = 100 * mean(reports, lambda report: report.extra)
    return f"{name:44} extra {extra:5.2f} %   p50 {p50:7.3f}   p99 {p99:6.2f} x   p99.9 {p999:6.2f} x"


def main(seeds: int) -> None:
    """One line for each law and side: seconds, or medians of their groups for the recorded laws."""
    sides: tuple[tuple[str, HedgeRules | float | None], ...] = (
        ("no hedge", None),
        ("after 0.4 s", 0.4),
        ("learnt", HedgeRules()),
    )
    laws = (
        *(LogNormal(sigma=sigma) for sigma in (0.2, 0.35, 0.5, 0.8)),
        *(LogNormal(median=median) for median in (0.05, 2.0, 20.0)),
        *(LogNormal(stragglers=share) for share in (0.0, 0.005, 0.01, 0.05)),
        *(LogNormal(times=times) for times in (5.0, 20.0, 50.0)),
    )
    for law in laws:
        for side, rules in sides:
            reports = [
                played(poisson(law, requests=10_000, rng=Random(seed)), Random(~seed), rules) for seed in range(seeds)
            ]
            name = f"{law.median:g} s, sigma {law.sigma:g}, {law.stragglers:.1%} x{law.times:g}: {side}"
            print(told(name, reports), flush=True)
    for side, rules in (sides[0], sides[2]):
        reports = [
            played(poisson(Flaky(), requests=10_000, rng=Random(seed)), Random(~seed), rules, Breaker())
            for seed in range(seeds)
        ]
        print(told(f"one of two replicas flaky: {side}", reports), flush=True)
    groups = recorded_groups() if SESSIONS.exists() else {}
    for law_name, twist in LAWS.items() if groups else ():
        for side, rules in (sides[0], sides[2]):
            allowed = HedgeRules(budget_bimodal=0.07) if rules and law_name == "5 % x10" else rules
            reports = [played(recorded(groups, twist, Random(seed)), Random(~seed), allowed) for seed in range(seeds)]
            print(told(f"agents, {law_name}: {side}", reports), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
