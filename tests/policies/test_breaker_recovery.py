"""Breakers over minutes: what a bad replica costs, how soon it is back, and how often one that flaps is tried."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random

import pytest
from msgspec import Struct

from policies.breaker import Breakers
from policies.breaker_state import Transition
from policies.breaker_watch import Watch
from tests.build import call, target
from tests.effort import some

A, B = target("p/a"), target("q/b")
CALL = call()
CALLS_A_SECOND = 40
HANG_S = 10.0  # until the limit on the first event
PROBE_EVERY_S = 10.0
ATTEMPTS = 3

Due = tuple[float, int, int, Watch | None]  # (instant, tie, attempts of its call, what ends then)
Fate = Callable[[float, Random], str]  # (instant, chance) -> "ok", "error" or "hang"


class Told(Struct):
    calls: int = 0
    failed: int = 0
    attempts: int = 0
    on_a: list[float] = []  # when it was asked
    turned: list[tuple[float, Transition]] = []


def fleet(fate: Fate, until: float, *, seed: int, probes: bool = True) -> Told:
    """Two replicas, of which the first has a fate; a call that fails goes elsewhere. One that hangs, too, and later."""
    told, now, rng = Told(on_a=[], turned=[]), 0.0, Random(seed)
    breakers = Breakers(lambda transition: told.turned.append((now, transition)))
    numbers = range(int(until * CALLS_A_SECOND))
    due: list[Due] = [(number / CALLS_A_SECOND, number, 0, None) for number in numbers]  # sorted: a heap
    tie, next_probe = len(due), PROBE_EVERY_S
    while due:
        now, _, tries, hung = heapq.heappop(due)
        while probes and next_probe <= now:
            for provider in breakers.due_probes(next_probe):
                breakers.probe_passed(provider, next_probe)
            next_probe += PROBE_EVERY_S
        if hung is not None:
            hung.ended("overload", "upstream_timeout", now=now, rng=rng)
        pool, panic = breakers.usable(CALL, (A, B) if tries == 0 else (B, A), now)
        if tries and (panic or tries >= ATTEMPTS):
            told.failed += 1
            continue
        chosen = (breakers.trial(CALL, pool, now) or rng.choice(pool)) if tries == 0 else pool[0]
        told.calls += tries == 0
        told.attempts += 1
        watch = breakers.begin(chosen, now)
        end = fate(now, rng) if chosen is A else "ok"
        if chosen is A:
            told.on_a.append(now)
        if end == "ok":
            watch.ended("success", None, now=now, rng=rng)
            continue
        tie += 1
        if end == "error":
            watch.ended("failure", "upstream_error", now=now, rng=rng)
        heapq.heappush(due, (now + HANG_S * (end == "hang"), tie, tries + 1, watch if end == "hang" else None))
    return told


def flaky_until(healed_at: float) -> Fate:
    def fate(now: float, rng: Random) -> str:
        share = rng.random()
        return "ok" if now >= healed_at or share >= 0.32 else "hang" if share < 0.02 else "error"

    return fate


def flapping(now: float, _: Random) -> str:
    return "ok" if int(now) % 2 == 0 else "error"


@pytest.mark.parametrize("seed", range(10))
def test_a_bad_replica_is_hardly_noticed_and_back_soon_after_it_healed(seed: int) -> None:
    healed_at = 120.0
    told = fleet(flaky_until(healed_at), 180.0, seed=seed)
    back, last = told.turned[-1]
    assert last.to == "closed"
    assert back - healed_at <= 15.0, "and from then on nothing turns any more"
    assert told.failed <= 1e-4 * told.calls
    assert told.attempts <= 1.06 * told.calls
    first = next(at for at, turned in told.turned if turned.to == "open")
    assert first <= 15.0
    assert len([at for at in told.on_a if at > 170.0]) > 100, "it has its share again"


@pytest.mark.parametrize("seed", some(range(5)))
def test_who_flaps_is_tried_ever_more_rarely(seed: int) -> None:
    told = fleet(flapping, 1200.0, seed=seed, probes=False)
    waits = [turned.wait_s for _, turned in told.turned if turned.to == "open"]
    assert waits[0] <= 5.0 < 60.0 < max(waits) <= 300.0
    assert told.failed == 0
    assert told.attempts <= 1.01 * told.calls


def test_who_flaps_under_probes_that_pass_is_tried_once_in_an_interval() -> None:
    told = fleet(flapping, 600.0, seed=1)
    trials = sum(turned.to == "half_open" for _, turned in told.turned)
    assert 60 <= trials <= 66, "the first waits are shorter"
    assert told.failed == 0


def test_a_healthy_fleet_never_opens() -> None:
    for seed in some(range(5)):
        told = fleet(lambda now, rng: "error" if rng.random() < 0.02 else "ok", 600.0, seed=seed)
        assert not told.turned, "one in fifty is not enough"
