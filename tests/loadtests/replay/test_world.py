"""What the replicas do with prompts: first come first served, a cache of beginnings, answers side by side."""

from __future__ import annotations

import pytest

from loadtests.replay.world import BLOCK_TOKENS, Replica, Request, World, mean, quantile


class First:
    """Sends everything to the first replica, and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def choose(self, request: Request, now: float) -> int:
        return 0

    def started(self, request: Request, replica: int, now: float) -> None:
        self.told.append(("started", request.number))

    def first_event(self, request: Request, now: float) -> None:
        self.told.append(("first", request.number))

    def ended(self, request: Request, now: float, cached_tokens: int) -> None:
        self.told.append(("ended", cached_tokens))


def request(number: int, blocks: int, output: int = 1) -> Request:
    return Request(number, blocks * BLOCK_TOKENS, output, tuple(range(blocks)))


def test_prompts_are_read_one_after_another_and_only_what_is_not_held() -> None:
    policy = First()
    world = World((1.0,), 100, [policy])
    for number, blocks in enumerate((16, 32)):
        world.send(request(number, blocks), 0.0)
    one, two = world.play()
    assert one.first_s == pytest.approx(16 * 512 / 8_000)
    assert two.first_at - one.first_at == pytest.approx(16 * 512 / 8_000 * (1 + 1 / 128))  # one answer is being made
    assert (one.cached_tokens, two.cached_tokens) == (0, 16 * 512)
    assert policy.told == [("started", 0), ("started", 1), ("first", 0), ("ended", 0), ("first", 1), ("ended", 8_192)]


def test_memory_keeps_the_beginnings_of_prompts() -> None:
    replica = Replica(1.0, 10)
    replica.keep(request(1, 8))
    replica.keep(Request(2, 5 * 512, 1, tuple(range(100, 105))))
    assert replica.cached(request(3, 8)) == 5 * 512
    assert replica.cached(Request(4, 100, 1, (0,))) == 100


def test_a_slower_replica_reads_and_writes_slower() -> None:
    assert Replica(0.5, 1).read_s(8_000) == pytest.approx(2.0)
    assert Replica(0.5, 1).write_s(50) == pytest.approx(2.0)


def test_a_pinned_run_stays_with_one_process() -> None:
    policies = [First(), First()]
    world = World((1.0,), 10, policies, pinned=True)
    for number in range(6):
        world.send(Request(number, 100, 1, (), run=number % 2), 0.0)
    world.play()
    assert [sum(what == "started" for what, _ in each.told) for each in policies] == [3, 3]
    assert {number % 2 for what, number in policies[0].told if what == "started"} == {0}


def test_means_and_quantiles() -> None:
    assert mean([1.0, 3.0]) == 2.0
    assert quantile([3.0, 1.0, 2.0], 0.99) == 3.0
