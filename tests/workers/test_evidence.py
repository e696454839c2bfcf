"""What one worker has learnt of a cheap rung all of them know, and so does the gate that starts after them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.workers.fleet import ROOT, Clients, Fleet, play

pytestmark = pytest.mark.slow

BODY = {"model": "smart", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
CALLS = 12


def learning(folder: Path, workers: int) -> Fleet:
    fleet = Fleet(folder, workers=workers)
    fleet.config["models"] = {
        "m": "up/real",
        "large": "up/real",
        "smart": {"mode": "cascade", "steps": ["m", "large"], "accept": [], "shadow": 0},
    }
    fleet.write()
    return fleet


async def ask(fleet: Fleet) -> list[str]:
    """The ids of calls on connections of their own: any worker takes one."""
    url = f"http://127.0.0.1:{fleet.port}/agents/a/runs/r/v1/chat/completions"
    connections = aiohttp.TCPConnector(force_close=True)
    found = []
    async with aiohttp.ClientSession(connector=connections, headers={"Authorization": "Bearer x"}) as session:
        for _ in range(CALLS):
            async with session.post(url, json=BODY) as reply:
                assert reply.status == 200, await reply.text()
                assert reply.headers["x-headgate-cascade"] == "m accept passed"
                found.append(reply.headers["x-headgate-request-id"])
    return found


async def told(fleet: Fleet, path: str, order: dict[str, object] | None = None) -> Any:
    method = "GET" if order is None else "POST"
    url = f"http://127.0.0.1:{fleet.admin_port}{path}"
    async with aiohttp.ClientSession() as session, session.request(method, url, json=order) as reply:
        assert reply.status == 200, await reply.text()
        return await reply.json()


async def known(fleet: Fleet) -> list[tuple[str, int, float]]:
    rows = (await told(fleet, "/cascades"))["rows"]
    return [(row["agent"], row["labels"], row["losses"]) for row in rows]


async def shown(fleet: Fleet) -> str:
    """As people read it."""
    command = (sys.executable, "-m", "proxy", "cascades", "--admin", f"http://127.0.0.1:{fleet.admin_port}")
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_word_reaches_the_process_that_answered_and_is_kept(tmp_path: Path, workers: int) -> None:
    fleet = learning(tmp_path, workers)

    async def scene(clients: Clients) -> None:
        ids = await ask(fleet)
        for id in ids[:3]:
            assert (await told(fleet, "/feedback", {"request": id, "score": 0}))["answers"] == 1
        assert (await told(fleet, "/feedback", {"request": ids[0], "score": 0}))["answers"] == 0, "once"
        await asyncio.sleep(0.5)
        assert await known(fleet) == [("a", 3, 3.0)]
        assert (await told(fleet, "/feedback", {"run": "r", "score": 1}))["answers"] == CALLS - 3
        await asyncio.sleep(0.5)
        assert await known(fleet) == [("a", CALLS, 3.0)]
        assert fleet.stop() == 0
        fleet.start()
        await clients.ready()
        assert await known(fleet) == [("a", CALLS, 3.0)]
        assert f"{CALLS} " in await shown(fleet)
        assert (await told(fleet, "/cascades/reset", {"agent": "a"}))["rungs"] == 1
        assert await known(fleet) == []

    play(fleet, scene)
