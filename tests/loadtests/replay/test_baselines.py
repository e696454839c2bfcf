"""Each router does what its description says."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest

from loadtests.replay.baselines import APART, BASELINES, Greedy, LeastRequests, TwoHashes, TwoMode
from loadtests.replay.traces import conversation
from loadtests.replay.world import Request, World


def request(number: int, first: int, blocks: int = 10) -> Request:
    return Request(number, blocks * 512, 10, tuple(range(first, first + blocks)))


def sent(router: LeastRequests, asked: Request, replica: int) -> None:
    router.started(asked, replica, 0.0)


def test_least_requests_counts() -> None:
    router = LeastRequests(2, 100, Random(1))
    sent(router, request(1, 0), 0)
    assert router.choose(request(2, 0), 0.0) == 1
    router.first_event(request(1, 0), 0.5)
    router.ended(request(1, 0), 1.0, 0)
    assert {router.choose(request(3, 0), 1.0) for _ in range(50)} == {0, 1}


def test_two_modes_follow_the_prefix_until_counts_are_too_far_apart() -> None:
    router = TwoMode(2, 1_000, Random(1))
    sent(router, request(0, 0), 0)
    assert router.choose(request(1, 0), 0.0) == 0
    assert router.choose(request(1, 500), 0.0) == 1  # nothing matches: to the smaller index
    for number in range(1, APART + 2):
        sent(router, request(number, 0), 0)
    assert router.choose(request(99, 0), 0.0) == 1


def test_two_hashes_choose_the_better_cached_of_two_homes() -> None:
    router = TwoHashes(8, 1_000, Random(1))
    homes = set()
    for number in range(40):
        asked = request(number, 0)
        homes.add(router.choose(asked, 0.0))
        sent(router, asked, router.choose(asked, 0.0))
    assert len(homes) == 1
    for number in range(40, 60):  # five seconds of work wait there
        sent(router, Request(number, 50_000, 1, ()), next(iter(homes)))
    assert router.choose(request(99, 0), 0.0) not in homes


def test_greedy_weighs_waiting_against_missing() -> None:
    router = Greedy(2, 1_000, Random(1))
    sent(router, request(0, 0), 0)
    router.first_event(request(0, 0), 1.0)
    assert router.choose(request(1, 0), 1.0) == 0
    sent(router, request(2, 500, blocks=30), 0)
    assert router.choose(request(3, 0), 1.0) == 1


@pytest.mark.parametrize("name", BASELINES)
def test_every_request_is_answered(name: str) -> None:
    world = World((1.0,) * 4, 500, [BASELINES[name](4, 500, Random(1))])
    arrivals = conversation(None, 1)[:300]
    for at, asked in arrivals:
        world.later(at, partial(world.send, asked))
    assert len(world.play()) == 300
