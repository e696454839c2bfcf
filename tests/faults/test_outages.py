"""F36, F37, F74 and F75: an outage is not answered with a multiple of its load, the least bad target is tried anyway,
and what comes back is used again by itself."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from loadtests.upstream import read
from proxy.execution.probing import Probing
from proxy.types import Outcome
from tests.faults.test_matrix import BODIES
from tests.faults.world import FaultWorld, Server

pytestmark = pytest.mark.slow

RATE = 10.0  # calls a second
DOWN: dict[str, list[object]] = {"rules": [{"steps": [{"reply": {"status": 503}}]}]}
UP = {"rules": [{"steps": [{"answer": {"first": 0.3}}]}]}


GONE = {"rules": [*DOWN["rules"], {"when": {"path": "/models"}, "steps": [{"reply": {"status": 503}}]}]}


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


async def test_a_target_that_is_well_again_is_asked_for_it_freely_tried_and_then_used_little_by_little() -> None:
    one, other = Server(UP), Server(UP)
    async with FaultWorld(one, other, balance="score") as world:
        probing = Probing(world.steering.breakers, world.clock, world.tasks, lambda: world.snapshot.providers)
        probes = world.tasks.start("probes", probing.keep())
        rng = Random(5)
        await arrivals(world, 10, rng)
        one.stage.change(read(GONE))
        await arrivals(world, 30, rng)
        one.stage.change(read(UP))
        healed_at = asyncio.get_running_loop().time()
        await arrivals(world, 25, rng)
        probes.cancel()
    assert served(world.outcomes) == 1, "the other one has answered all the while"
    asked = [entry for entry in one.entries if entry.path.endswith("/models")]
    assert 1 <= len(asked) <= 4, "one free question an interval, while it is out"
    back = [entry.asked_at - healed_at for entry in one.entries if entry.asked_at >= healed_at]
    calls = [outcome.attempts[0].started_at - healed_at for outcome in world.outcomes]
    late = [at for at in calls if at >= 15]
    assert sum(at >= 15 for at in back) >= len(late) / 4
    first = min(back)
    assert sum(at < first + 1 for at in back) <= sum(first <= at < first + 1 for at in calls) / 3
