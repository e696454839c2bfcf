"""What all workers have served is one experiment, and it goes on after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.workers.fleet import Clients, Fleet, play
from tests.workers.test_evidence import told

pytestmark = pytest.mark.slow

RUNS = 12


def compared(folder: Path, workers: int) -> Fleet:
    fleet = Fleet(folder, workers=workers)
    experiment = {"control": "m", "candidate": "other", "share": 0.5}
    fleet.config["models"] = {"m": "up/real", "other": "up/real", "test": {"experiment": experiment}}
    fleet.write()
    return fleet


async def ask(fleet: Fleet) -> dict[str, set[str]]:
    """The arms that each run has been in, on connections of their own: any worker takes one."""
    body = {"model": "test", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
    connections, found = aiohttp.TCPConnector(force_close=True), dict[str, set[str]]()
    async with aiohttp.ClientSession(connector=connections, headers={"Authorization": "Bearer x"}) as session:
        for number in range(3 * RUNS):
            run = f"r{number % RUNS}"
            url = f"http://127.0.0.1:{fleet.port}/agents/a/runs/{run}/v1/chat/completions"
            async with session.post(url, json=body) as reply:
                assert reply.status == 200, await reply.text()
                found.setdefault(run, set()).add(reply.headers["x-headgate-experiment"])
    return found


async def calls(fleet: Fleet) -> int:
    cost = (await told(fleet, "/experiments/test"))["rows"][0]
    return int(cost["control"]["calls"] + cost["candidate"]["calls"])


@pytest.mark.parametrize("workers", [1, 2])
def test_an_experiment_is_one_over_all_workers_and_survives_a_restart(tmp_path: Path, workers: int) -> None:
    fleet = compared(tmp_path, workers)

    async def scene(clients: Clients) -> None:
        arms = await ask(fleet)
        assert all(len(each) == 1 for each in arms.values())
        assert {arm for each in arms.values() for arm in each} == {"test control", "test candidate"}
        await asyncio.sleep(0.5)
        assert await calls(fleet) == 3 * RUNS
        assert (await told(fleet, "/feedback", {"run": "r0", "score": 1}))["answers"] == 3
        assert fleet.stop() == 0
        fleet.start()
        await clients.ready()
        assert await calls(fleet) == 3 * RUNS
        assert await ask(fleet) == arms
        await asyncio.sleep(0.5)
        assert await calls(fleet) == 6 * RUNS
        assert (await told(fleet, "/experiments/test/reset", {}))["experiment"] == "test"
        assert await calls(fleet) == 0

    play(fleet, scene)
