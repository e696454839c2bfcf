"""Real workers against an upstream's own bill: what many processes draw on at once is kept to the nano-dollar."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.workers.fleet import Clients, Fleet, play

pytestmark = pytest.mark.slow

USD = 10**9


def test_a_thousand_calls_on_four_workers_never_spend_more_than_the_run_has(tmp_path: Path) -> None:
    budget = [{"usd": 1, "per": "run", "hold": "strict"}]
    fleet = Fleet(tmp_path, workers=4, budget=budget)

    async def scene(clients: Clients) -> None:
        await asyncio.gather(*[clients.call(max_tokens=2_000) for _ in range(1_000)])
        served = [answer for answer in clients.answers if answer.status == 200]
        refused = [answer for answer in clients.answers if answer.status != 200]
        assert clients.broken == 0
        assert {answer.code for answer in refused} == {"budget_exceeded"}
        bill, asked = await clients.bill()
        assert asked == len(served)
        standing = await clients.standing("run:key:open/r1")
        print(f"{len(served)} served, {len(refused)} refused, bill {bill / USD}, {standing}")
        assert standing["spent"] == bill == sum(answer.cost_usd_nanos for answer in served)
        assert (standing["overrun"], standing["unresolved"]) == (0, 0)
        assert bill <= USD
        assert bill > 0.9 * USD, "money was left that a call could have had"
        assert fleet.stop() == 0

    play(fleet, scene)


def test_a_limit_on_concurrency_holds_over_all_workers(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, workers=2, budget=[{"concurrency": 5}], wait_s=0)

    async def scene(clients: Clients) -> None:
        await asyncio.gather(*[clients.call() for _ in range(40)])
        served = [answer for answer in clients.answers if answer.status == 200]
        assert 1 <= len(served) <= 35
        assert all(answer.code == "budget_exceeded" for answer in clients.answers if answer.status != 200)
        await asyncio.sleep(2.5)
        assert (await clients.standing("agent:a", "concurrency"))["held"] == 0

    play(fleet, scene)


def test_settled_money_is_there_after_a_restart(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, workers=2, budget=[{"usd": 1, "per": "total"}])

    async def scene(clients: Clients) -> None:
        await asyncio.gather(*[clients.call() for _ in range(50)])
        # Only then is equality due: what fails on its way to the vendor is charged for the input it may have had.
        failed = [answer for answer in clients.answers if answer.status != 200]
        assert (failed, clients.broken) == ([], 0), fleet.calls_that_failed()
        assert fleet.stop() == 0
        fleet.start()
        await clients.ready()
        bill, _ = await clients.bill()
        assert (await clients.standing("agent:a"))["spent"] == bill

    play(fleet, scene)
