"""What the strategies are worth: replicas of an engine, and providers, under recorded and made-up arrivals.

`HEADGATE_TRACES` names the folder of the recorded ones.
"""

from __future__ import annotations

import heapq
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from msgspec import Struct
from msgspec.structs import replace

from policies.balance import Router
from policies.load import Loads, Ticket
from proxy.types import Balance, Call, Head
from tests.build import call, target
from tests.policies.replicas import (
    Arrival,
    LeastRequests,
    LeastTokens,
    Policy,
    Replica,
    RoundRobin,
    Run,
    made_up,
    mean,
    quantile,
    recorded,
)
from tests.sources import ROOT

STREAM = call(head=Head(model="m", stream=True))
TRACE = Path(os.environ.get("HEADGATE_TRACES", ROOT.parent / "shared" / "data")) / "mooncake_conversation.jsonl.gz"
EQUAL, HALF, ONE_SLOW, SEVEN = (1.0,) * 8, (1.0,) * 4 + (0.5,) * 4, (1.0,) * 7 + (0.1,), (1.0,) * 7


class Balanced:
    """The strategy under test, as a policy of the replicas."""

    def __init__(self, count: int, rng: Random, balance: Balance = "score") -> None:
        self._loads = Loads()
        self._router = Router(balance, self._loads)
        self._targets = tuple(target(f"{n}/m") for n in range(count))
        self._rng = rng
        self._call: Call = STREAM
        self._tickets: dict[int, Ticket] = {}

    def choose(self, arrival: Arrival, now: float) -> int:
        self._call = replace(STREAM, input_tokens_estimate=arrival.tokens)
        choice = self._router.choose(self._call, self._targets, tried=(), now=now, rng=self._rng)
        return int(choice.target.provider)

    def started(self, number: int, replica: int, now: float) -> None:
        self._tickets[number] = self._loads.started(self._call, self._targets[replica], now)

    def first_event(self, number: int, now: float) -> None:
        self._loads.first_event(self._tickets[number], now)

    def ended(self, number: int, now: float, cached_tokens: int) -> None:
        self._loads.ended(self._tickets.pop(number), now, cached_tokens)


def played(policy: Policy, speeds: Sequence[float], arrivals: list[Arrival], first_s: float = 0.0) -> Run:
    run = Run([Replica(speed, first_s=first_s) for speed in speeds], policy)
    run.play(arrivals)
    return run


def mean_s(policy: Policy, speeds: Sequence[float], arrivals: list[Arrival], first_s: float = 0.0) -> float:
    return mean(played(policy, speeds, arrivals, first_s).first_s)


@pytest.fixture(scope="module")
def conversation() -> list[Arrival]:
    if not TRACE.exists():
        pytest.skip("traces not found: set HEADGATE_TRACES to the folder that holds mooncake_conversation.jsonl.gz")
    return recorded(TRACE)


@pytest.fixture(scope="module")
def long_prompts() -> list[Arrival]:
    return made_up(3_000, 3.5, Random(5))


def test_of_unequal_replicas_the_faster_get_more() -> None:
    arrivals = made_up(3_000, 2.7, Random(5))
    assert mean_s(Balanced(8, Random(1)), HALF, arrivals) <= 0.6 * mean_s(LeastRequests(8, Random(1)), HALF, arrivals)


def test_a_replica_at_a_tenth_of_its_speed_is_as_good_as_gone(long_prompts: list[Arrival]) -> None:
    with_it = quantile(played(Balanced(8, Random(1)), ONE_SLOW, long_prompts).first_s, 0.99)
    without = quantile(played(Balanced(7, Random(1)), SEVEN, long_prompts).first_s, 0.99)
    assert with_it <= 1.1 * without


def test_equal_replicas_are_balanced_as_well_as_by_counting(long_prompts: list[Arrival]) -> None:
    ours = mean_s(Balanced(8, Random(1)), EQUAL, long_prompts)
    assert ours <= 1.05 * min(
        mean_s(LeastRequests(8, Random(1)), EQUAL, long_prompts),
        mean_s(LeastTokens(8, Random(1)), EQUAL, long_prompts),
        mean_s(RoundRobin(8, Random(1)), EQUAL, long_prompts),
    )


@pytest.mark.parametrize("speeds", [(1.0,) * 4, (1.0, 1.0, 0.5, 0.5), (1.0, 1.0, 1.0, 0.1)])
def test_replicas_whose_prompts_are_all_short_are_told_apart(speeds: tuple[float, ...]) -> None:
    arrivals = made_up(3_000, 5.9 * sum(speeds), Random(3), tokens=80, sigma=0.3)
    least = mean_s(LeastRequests(4, Random(1)), speeds, arrivals, first_s=0.1)
    assert mean_s(Balanced(4, Random(1)), speeds, arrivals, first_s=0.1) <= 0.75 * least


@pytest.mark.slow
def test_half_of_eight_replicas_at_half_speed(conversation: list[Arrival]) -> None:
    for seed in range(3):
        least = mean_s(LeastRequests(8, Random(seed)), HALF, conversation)
        assert mean_s(Balanced(8, Random(seed)), HALF, conversation) <= 0.5 * least


@pytest.mark.slow
def test_one_of_eight_replicas_at_a_tenth_of_its_speed(conversation: list[Arrival]) -> None:
    with_it = quantile(played(Balanced(8, Random(1)), ONE_SLOW, conversation).first_s, 0.99)
    assert with_it <= 1.1 * quantile(played(Balanced(7, Random(1)), SEVEN, conversation).first_s, 0.99)


@pytest.mark.slow
def test_eight_equal_replicas(conversation: list[Arrival]) -> None:
    baselines = [each(8, Random(1)) for each in (LeastRequests, LeastTokens, RoundRobin)]
    best = min(mean_s(each, EQUAL, conversation) for each in baselines)
    assert mean_s(Balanced(8, Random(1)), EQUAL, conversation) <= 1.05 * best


# --- providers that serve all at once --------------------------------------------------------------------------------


class Sent(Struct, frozen=True):
    at: float
    to: int


def sent(count: int, a_second: float, *, plain: bool = False, seed: int = 1, slow: tuple[float, float]) -> list[Sent]:
    """Calls to providers of 0.2 s, log-normal; the first is ten times slower from `slow[0]` to `slow[1]`."""
    rng, loads = Random(seed), Loads()
    router = Router("score", loads)
    targets = tuple(target(f"{n}/m") for n in range(count))
    asked = replace(call() if plain else STREAM, input_tokens_estimate=100)
    due: list[tuple[float, int, Ticket]] = []
    log: list[Sent] = []
    now = 0.0
    while now < slow[1] + 100:
        now += rng.expovariate(a_second)
        while due and due[0][0] <= now:
            at, _, ticket = heapq.heappop(due)
            loads.first_event(ticket, at)
            loads.ended(ticket, at, None)
        chosen = int(router.choose(asked, targets, tried=(), now=now, rng=rng).target.provider)
        latency_s = 0.2 * rng.lognormvariate(0.0, 0.35) * (10 if chosen == 0 and slow[0] <= now < slow[1] else 1)
        heapq.heappush(due, (now + latency_s, len(log), loads.started(asked, targets[chosen], now)))
        log.append(Sent(now, chosen))
    return log


def share(log: list[Sent], begin: float, end: float) -> float:
    """Of the first provider."""
    counted = Counter(each.to for each in log if begin <= each.at < end)
    return counted[0] / max(1, counted.total())


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(("count", "a_second"), [(2, 2), (2, 20), (8, 20)])
def test_a_provider_that_becomes_ten_times_slower_loses_nine_tenths_of_its_traffic_in_30_s(
    count: int, a_second: float, plain: bool
) -> None:
    logs = [sent(count, a_second, plain=plain, seed=seed, slow=(100.0, 200.0)) for seed in range(2)]
    fair = 1 / count
    assert mean([share(log, 130.0, 200.0) for log in logs]) <= 0.1 * fair
    assert mean([share(log, 100.0, 130.0) for log in logs]) <= 0.2 * fair


@pytest.mark.parametrize(("count", "a_second"), [(2, 10), (4, 40)])
def test_a_provider_that_has_recovered_gets_its_part_again(count: int, a_second: float) -> None:
    logs = [sent(count, a_second, seed=seed, slow=(50.0, 100.0)) for seed in range(3)]
    assert mean([share(log, 160.0, 200.0) for log in logs]) >= 0.5 / count


@pytest.mark.parametrize("a_second", [2, 40])
def test_equal_providers_all_get_a_part(a_second: float) -> None:
    log = sent(4, a_second, slow=(300.0, 300.0))
    counted = Counter(each.to for each in log)
    assert min(counted[n] for n in range(4)) >= 0.08 * len(log)
