"""The live feed of a gate with several processes: one, over the calls and the events of all of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.workers.fleet import Clients, Fleet, free_port, play

pytestmark = pytest.mark.slow


async def messages(fleet: Fleet) -> AsyncIterator[tuple[str, Any]]:
    url = f"http://127.0.0.1:{fleet.admin_port}/events"
    async with aiohttp.ClientSession() as session, session.get(url) as reply:
        while block := (await reply.content.readuntil(b"\n\n")).decode().strip():
            lines = dict(line.split(": ", 1) for line in block.split("\n"))
            yield lines["event"], json.loads(lines["data"])


async def ask(fleet: Fleet, model: str, times: int) -> None:
    """Every call has a connection of its own, and any worker takes it."""
    url = f"http://127.0.0.1:{fleet.port}/agents/a/runs/r/v1/chat/completions"
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    connections = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connections, headers={"Authorization": "Bearer x"}) as session:
        for _ in range(times):
            async with session.post(url, json=body) as reply:
                await reply.read()


def test_calls_and_breakers_of_all_workers_are_told_in_one_feed(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, workers=2)
    providers, models = fleet.config["providers"], fleet.config["models"]
    assert isinstance(providers, dict) and isinstance(models, dict)
    providers["gone"] = {"kind": "openai", "base_url": f"http://127.0.0.1:{free_port()}/v1", "api_key": "k"}
    models["dead"] = "gone/m"
    pricing = fleet.config.setdefault("pricing", {})
    assert isinstance(pricing, dict)
    pricing["unknown"] = "allow"
    fleet.write()

    async def scene(clients: Clients) -> None:
        turned, calls = set[int](), 0
        async with asyncio.timeout(30):
            async for kind, said in messages(fleet):
                if kind == "snapshot":
                    await ask(fleet, "m", 10)
                    await ask(fleet, "dead", 20)
                elif kind == "event" and said["name"] == "breaker" and said["fields"]["state"] == "open":
                    turned.add(said["fields"]["worker"])
                elif kind == "delta":
                    calls = said["totals"]["calls"]
                if turned and calls == 30:
                    break
        assert turned <= {0, 1}

    play(fleet, scene)
