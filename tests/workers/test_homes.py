"""A run is served by one engine, whichever worker each of its calls lands at."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from policies.homes import BYTES
from tests.workers.fleet import Clients, Fleet, play

pytestmark = pytest.mark.slow

ENGINES, RUNS, TURNS = 4, 4, 6
LONG = "a word and another one " * 400


def fleet_of_engines(folder: Path) -> Fleet:
    fleet = Fleet(folder, workers=3)
    engine = {"kind": "openai", "engine": "vllm", "base_url": f"{fleet.vendor_url}/v1", "kv_tokens": 600_000}
    fleet.config["providers"] = {f"gpu-{number}": engine for number in range(ENGINES)}
    fleet.config["models"] = {"m": {"targets": [f"gpu-{number}/real" for number in range(ENGINES)]}}
    fleet.config["pricing"] = {"unknown": "allow"}
    fleet.write()
    return fleet


async def turn(fleet: Fleet, run: str, turns: int) -> str:
    """The target of one call, over a connection of its own, so that any worker may take it."""
    url = f"http://127.0.0.1:{fleet.port}/agents/a/runs/{run}/v1/chat/completions"
    messages = [{"role": "user", "content": f"{run} {number} {LONG}"} for number in range(turns)]
    body = {"model": "m", "max_tokens": 5, "messages": messages}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=body, headers={"Authorization": "Bearer x"}) as reply,
    ):
        assert reply.status == 200
        return reply.headers["x-headgate-target"]


def test_a_run_has_one_home_in_all_workers(tmp_path: Path) -> None:
    fleet = fleet_of_engines(tmp_path)
    served: dict[str, set[str]] = {}

    async def scene(clients: Clients) -> None:
        for number in range(RUNS):
            run = f"run-{number}"
            served[run] = {await turn(fleet, run, turns) for turns in range(1, TURNS + 1)}
        assert fleet.stop() == 0

    play(fleet, scene)
    assert (tmp_path / "data" / "homes").stat().st_size == BYTES
    assert [len(targets) for targets in served.values()] == [1] * RUNS, served
