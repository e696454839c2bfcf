"""F36, F74 and F75: an outage is not answered with a multiple of its load, the least bad target is tried all the same,
and what comes back is used again by itself."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from loadtests.upstream import read
from proxy.types import Outcome
from tests.faults.test_matrix import BODIES
from tests.faults.world import FaultWorld, Server

RATE = 10.0  # calls a second
DOWN = {"rules": [{"steps": [{"reply": {"status": 503}}]}]}
UP = {"rules": [{"steps": [{"answer": {"first": 0.3}}]}]}


async def arrivals(world: FaultWorld, seconds: float, rng: Random) -> None:
    """An open loop: calls come whether or not others are answered. No client of these tries again by itself."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    async with asyncio.TaskGroup() as calls:
        while loop.time() < until:
            await asyncio.sleep(rng.expovariate(RATE))
            calls.create_task(world.request(BODIES["stream" if rng.random() < 0.5 else "plain"]))


def served(outcomes: list[Outcome]) -> float:
    return sum(outcome.status == 200 and outcome.error_code is None for outcome in outcomes) / len(outcomes)


@pytest.mark.parametrize("targets", [1, 2])
async def test_in_an_outage_upstreams_get_little_more_than_the_load(targets: int) -> None:
    async with FaultWorld(*[Server(DOWN) for _ in range(targets)]) as world:
        await arrivals(world, 30, Random(1))
    assert served(world.outcomes) == 0
    assert len(world.entries) <= 1.2 * len(world.outcomes)


async def test_when_all_targets_are_out_each_call_still_tries_one() -> None:
    async with FaultWorld(Server(DOWN), Server(DOWN)) as world:
        await arrivals(world, 20, Random(3))
        begun, tried = len(world.outcomes), len(world.entries)
        await arrivals(world, 10, Random(4))
    late = world.outcomes[begun:]
    assert all(outcome.status == 503 and outcome.error_source == "upstream" for outcome in late)
    assert all(outcome.attempts for outcome in late)
    assert len(world.entries) - tried <= 1.12 * len(late)


@pytest.mark.parametrize("targets", [1, 2])
async def test_after_an_outage_nobody_has_to_help(targets: int) -> None:
    servers = [Server(UP) for _ in range(targets)]
    async with FaultWorld(*servers) as world:
        rng = Random(2)
        await arrivals(world, 10, rng)
        before = served(world.outcomes)
        for server in servers:
            server.stage.change(read(DOWN))
        await arrivals(world, 30, rng)
        for server in servers:
            server.stage.change(read(UP))
        await arrivals(world, 10, rng)
        begun = len(world.outcomes)
        await arrivals(world, 10, rng)
    assert before == 1
    assert served(world.outcomes[begun:]) >= 0.95
