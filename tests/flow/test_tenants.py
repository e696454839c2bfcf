"""Two teams call their runs by one name: what is done to the one, and what it has used up, is nothing to the other."""

from __future__ import annotations

import asyncio

import pytest

from policies.limits import Limit, LimitsByName
from policies.loops import LoopRules
from policies.runs import RunLimits
from proxy.runs.registry import Kind, RunCommand
from proxy.snapshot import AgentRules
from proxy.types import KeyRecord
from tests.flow.test_loops import Agent
from tests.flow.test_runs import COST, PLAIN, STREAM, last_error, lasting, of
from tests.flow.world import Response, World, plain

KEYS = {
    "hg-red": KeyRecord("k1", team="red"),
    "hg-red-too": KeyRecord("k2", team="red"),
    "hg-blue": KeyRecord("k3", team="blue"),
    "hg-alone": KeyRecord("red"),  # a key that is called as a team
}
OTHERS = ("hg-blue", "hg-alone")


def teams(world: World) -> World:
    world.keys.records |= KEYS
    return world


async def ask(world: World, key: str, headers: str = "") -> Response:
    return await world.request(PLAIN, headers=of("r1") + headers, key=key)


def order(kind: Kind, run: str = "team:red/r1") -> RunCommand:
    return RunCommand(kind, run, id=kind, by="test", at_wall=0.0)


def spent(world: World, tenant: str) -> int:
    (usd,) = [each for each in world.store.standing(f"run:{tenant}/r1") if each.period.unit == "usd"]
    return usd.totals.spent


async def test_a_kill_ends_the_run_of_one_team_whichever_of_its_keys_calls() -> None:
    async with World(lasting) as world:
        teams(world)
        theirs = [asyncio.ensure_future(world.request(STREAM, headers=of("r1"), key=key)) for key in KEYS]  # noqa: TID251
        await asyncio.sleep(1)
        assert (await world.runs.apply(order("kill"))).interrupted == 2
        replies = dict(zip(KEYS, await asyncio.gather(*theirs), strict=True))
        assert [last_error(replies[key]) for key in ("hg-red", "hg-red-too")] == ["run_killed"] * 2
        assert all(replies[key].complete for key in OTHERS)
        refused = await ask(world, "hg-red-too")
        assert (refused.error["code"], refused.error["run"]) == ("run_killed", "r1")
        assert "'r1'" in str(refused.error["message"])


async def test_a_pause_refuses_one_teams_calls_and_those_below_its_run() -> None:
    async with World(plain) as world:
        teams(world)
        await world.runs.apply(order("pause"))
        for key, status in (("hg-red", 429), ("hg-red-too", 429), ("hg-blue", 200), ("hg-alone", 200)):
            assert (await ask(world, key)).status == status
            assert (await world.request(PLAIN, headers=of("child", "r1"), key=key)).status == status


async def test_each_has_the_budget_of_its_own_run_and_a_top_up_is_one_teams() -> None:
    limits = LimitsByName({"agent:unattributed": (Limit("steps", 2, "run"), Limit("usd", 10**9, "run"))})
    async with World(plain, limits_of=limits) as world:
        teams(world)
        statuses = [(await ask(world, key)).status for key in ("hg-red", "hg-red-too", "hg-red")]
        assert statuses == [200, 200, 402], "the keys of a team draw on one run"
        for key in OTHERS:
            assert [(await ask(world, key)).status for _ in range(3)] == [200, 200, 402]
        refused = await ask(world, "hg-red")
        (limit,) = refused.error["limits"]  # type: ignore[misc]  # there is one
        assert limit["account"] == "run:r1"
        assert "run 'r1' in steps" in str(refused.error["message"])
        assert [spent(world, tenant) for tenant in ("team:red", "team:blue", "key:red")] == [2 * COST] * 3
        world.store.top_up("t", "run:team:red/r1", unit="steps", amount=1)
        assert [(await ask(world, key)).status for key in ("hg-red-too", *OTHERS)] == [200, 402, 402]


async def test_a_child_draws_on_the_parent_of_its_own_tenant() -> None:
    limits = LimitsByName({"agent:unattributed": (Limit("usd", 10**9, "run"),)})
    async with World(plain, limits_of=limits) as world:
        teams(world)
        await ask(world, "hg-blue")
        assert (await world.request(PLAIN, headers=of("child", "r1"), key="hg-red")).status == 200
        assert (spent(world, "team:red"), spent(world, "team:blue")) == (COST, COST)
        assert world.runs.state("team:red/child").parent == "team:red/r1"


async def test_steps_are_those_of_the_tenants_own_run() -> None:
    async with World(plain) as world:
        teams(world)
        for key in ("hg-red", "hg-red-too"):
            await ask(world, key)
        steps = [world.runs.steps(outcome.call.identity) for outcome in world.outcomes]
        await ask(world, "hg-blue")
        assert steps == [2, 2]
        assert world.runs.steps(world.outcomes[-1].call.identity) == 1


async def test_a_run_of_one_team_that_goes_round_in_circles_slows_nobody_elses_down() -> None:
    async with World(plain, rules=AgentRules(loops=LoopRules("on"))) as world:
        teams(world)
        red = Agent(world, of("r1"), key="hg-red")
        for _ in range(4):
            reply = await red.step("search")
            blue = Agent(world, of("r1"), key="hg-blue")
            assert "x-headgate-loop" not in (await blue.step("search")).headers
        assert reply.headers["x-headgate-loop"] == "throttle repeat 3"
        assert [world.runs.state(f"team:{team}/r1").loops for team in ("red", "blue")] == [2, 0]


@pytest.mark.parametrize("key", OTHERS)
async def test_one_teams_fan_out_takes_no_place_of_anothers(key: str) -> None:
    async with World(lasting, rules=AgentRules(run=RunLimits(width=1))) as world:
        teams(world)
        first = asyncio.ensure_future(world.request(STREAM, headers=of("r1"), key="hg-red"))  # noqa: TID251
        await asyncio.sleep(1)
        assert (await ask(world, "hg-red-too")).error["code"] == "run_width_exceeded"
        assert (await world.request(STREAM, headers=of("r1"), key=key)).complete
        assert (await first).complete


async def test_the_time_of_a_run_begins_with_its_own_tenants_first_call() -> None:
    async with World(plain, rules=AgentRules(run=RunLimits(seconds=60))) as world:
        teams(world)
        await ask(world, "hg-red")
        await asyncio.sleep(61)
        assert [(await ask(world, key)).status for key in ("hg-red", "hg-blue")] == [403, 200]
