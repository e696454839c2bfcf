"""Runs of one agent over sockets: who has had little goes first and says so; a client may name a call."""

from __future__ import annotations

import asyncio

from policies.provider_limits import TargetRules
from policies.rate_limit import Rates
from proxy.execution.line import Queueing
from tests.flow.world import REPLY, Peer, World

BODY = b'{"model":"m","messages":[],"max_tokens":100}'
ONE = TargetRules(targets={"up0/real": Rates(concurrency=1)})
LARGE = REPLY.replace(b'"prompt_tokens":10', b'"prompt_tokens":400000')


async def large(peer: Peer) -> None:
    """Answers of a run named `long` are dear."""
    await asyncio.sleep(1)
    await peer.reply(LARGE if b'"seed":1' in peer.body else REPLY)


class Runs:
    """Calls of one agent, and the runs in the order in which they were answered."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.order: list[str] = []

    async def ask(self, run: str, headers: str = "") -> None:
        body = BODY[:-1] + b',"seed":1}' if run.startswith("long") else BODY
        reply = await self.world.request(body, headers=f"X-Headgate-Agent: a\r\nX-Headgate-Run: {run}\r\n{headers}")
        assert reply.status == 200
        self.order.append(run)

    async def together(self, *asked: tuple[str, str]) -> None:
        """Behind one that runs already, in this order."""
        tasks = []
        for run, headers in (("first", ""), *asked):
            tasks.append(asyncio.ensure_future(self.ask(run, headers)))  # noqa: TID251
            await asyncio.sleep(0.05)
        await asyncio.gather(*tasks)


async def test_a_run_that_has_had_little_goes_before_one_that_has_had_much() -> None:
    async with World(large, target_rates=ONE, queueing=Queueing(wait_s=1_000)) as world:
        runs = Runs(world)
        await runs.ask("long")
        await runs.together(("long", ""), ("long", ""), ("short", ""), ("other", ""))
        assert runs.order == ["long", "first", "short", "other", "long", "long"]
        said = [decision.said for outcome in world.outcomes for decision in outcome.decisions or ()]
        waited = [each for each in said if each.startswith("waited ")]
        assert len(waited) == 4
        assert sum("400,010 cost units, which is class 2" in each for each in waited) == 2
        assert sum("its run has had 0 cost units, which is class 0" in each for each in waited) == 2
        assert sum("behind 0 of its agent's calls" in each for each in waited) >= 1


async def test_who_has_waited_for_a_third_of_the_longest_wait_moves_up() -> None:
    async with World(large, target_rates=ONE, queueing=Queueing(wait_s=12)) as world:
        runs = Runs(world)
        await runs.ask("long")
        tasks = [asyncio.ensure_future(runs.ask(run)) for run in ("first", "long")]  # noqa: TID251
        for number in range(10):
            await asyncio.sleep(0.9)
            tasks.append(asyncio.ensure_future(runs.ask(f"new-{number}")))  # noqa: TID251
        await asyncio.gather(*tasks)
        assert 6 <= runs.order[1:].index("long") <= 9, "neither at once nor at the end, which is 11"


async def test_runs_of_one_parent_go_together_and_a_client_names_what_others_wait_for() -> None:
    async with World(large, target_rates=ONE, queueing=Queueing(wait_s=1_000)) as world:
        runs, parent = Runs(world), "X-Headgate-Parent-Run: p\r\n"
        await runs.ask("long-1", parent)
        await runs.ask("long-2")
        await runs.together(("long-2", ""), ("long-1", parent), ("new", parent))
        assert runs.order[3:] == ["long-1", "new", "long-2"]
        await runs.together(("long-1", ""), ("long-2", "X-Headgate-Critical-Path: on\r\n"))
        assert runs.order[-2:] == ["long-2", "long-1"], "though it came later, and has had as much"
