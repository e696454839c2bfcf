"""Known answers of a gate with several processes: all of them have the journal, and an operator's word reaches each."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.workers import replays
from tests.workers.fleet import ROOT, Clients, Fleet, play

pytestmark = pytest.mark.slow

WRITTEN_S = 0.5  # until an answer that nobody waits for is on the disk, for the other worker
BODY = {"model": "m", "max_tokens": 500, "messages": [{"role": "user", "content": "hi"}], "temperature": 0}


async def ask(fleet: Fleet, times: int, headers: dict[str, str] | None = None) -> list[str]:
    """What each reply says of caches. Every call has a connection of its own, and any worker takes it."""
    url = f"http://127.0.0.1:{fleet.port}/agents/a/runs/r/v1/chat/completions"
    said = []
    connections = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connections, headers={"Authorization": "Bearer x"}) as session:
        for _ in range(times):
            async with session.post(url, json=BODY, headers=headers) as reply:
                assert reply.status == 200, await reply.text()
                said.append(reply.headers["x-headgate-cache"])
    return said


async def command(fleet: Fleet, *arguments: str) -> dict[str, object]:
    asked = (sys.executable, "-m", "proxy", "caches", *arguments, "--json")
    process = await asyncio.create_subprocess_exec(
        *asked, "--admin", f"http://127.0.0.1:{fleet.admin_port}", cwd=ROOT, stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


def test_runs_that_are_killed_and_resumed_buy_nothing_twice(tmp_path: Path) -> None:
    verdict = replays.run(tmp_path, runs=20)
    assert verdict.replayed > 20
    assert (verdict.twice, verdict.differing) == (0, 0)


def test_a_name_is_known_to_all_workers_and_after_a_restart(tmp_path: Path) -> None:
    fleet, named = Fleet(tmp_path, workers=2), {"Idempotency-Key": "step-1"}

    async def scene(clients: Clients) -> None:
        assert await ask(fleet, 30, named) == ["miss"] + ["replay"] * 29
        assert fleet.stop() == 0
        fleet.start()
        await clients.ready()
        assert await ask(fleet, 10, named) == ["replay"] * 10
        assert (await clients.bill())[1] == 1

    play(fleet, scene)


def test_answers_are_shared_counted_and_purged_in_every_process(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, workers=2)
    agents = fleet.config["agents"]
    assert isinstance(agents, dict)
    agents["a"]["cache"] = {"exact": "on"}
    fleet.write()

    async def scene(clients: Clients) -> None:
        assert await ask(fleet, 1) == ["miss"]
        await asyncio.sleep(WRITTEN_S)
        assert await ask(fleet, 29) == ["hit"] * 29
        await asyncio.sleep(2.5)  # until both have told what they have counted
        shown = await command(fleet)
        there = int(str(shown["entries"]))
        assert there in (1, 2), "in the memory of each that was asked"
        assert shown["on_disk"] == {
            "reply": {"entries": 1, "bytes": int(str(shown["bytes"])) // there},
            "replay": {"entries": 0, "bytes": 0},
        }
        savings = shown["savings"]
        assert isinstance(savings, dict)
        assert savings["exact"]["looked_up"] == {"hit": 29, "stale": 0, "miss": 1, "bypass": 0}
        cost, calls = await clients.bill()
        assert (savings["exact"]["saved_usd_nanos"], calls) == (29 * cost, 1)
        assert await clients.metric("headgate_cache_saved_usd_total") == pytest.approx(29 * cost / 1e9)
        assert await clients.metric("headgate_cache_entries") == there
        assert await command(fleet, "purge", "--agent", "b") == {"in_memory": 0, "on_disk": 0}
        assert await command(fleet, "purge", "--model", "m", "--agent", "a") == {"in_memory": there, "on_disk": 1}
        assert await ask(fleet, 1) == ["miss"]
        await asyncio.sleep(WRITTEN_S)
        assert await ask(fleet, 9) == ["hit"] * 9

    play(fleet, scene)
