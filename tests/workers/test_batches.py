"""A batch over several processes: one runs it, any of them answers for it, and whoever dies costs nobody a line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.proxy.batches.stage import CHAT, FORM_TYPE, form
from tests.workers.fleet import Clients, Fleet, play

pytestmark = pytest.mark.slow

LINES = 400
AT_ONCE = 8
WAIT_S = 60.0


class Owner:
    """Asks on a new connection each time: any worker takes it."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet

    async def ask(self, method: str, path: str, **more: Any) -> bytes:
        url, connector = f"http://127.0.0.1:{self.fleet.port}/agents/a/runs/r1/v1{path}", aiohttp.TCPConnector()
        async with aiohttp.ClientSession(connector=connector) as session:
            for _ in range(50):
                try:
                    async with session.request(method, url, headers=HEADERS | more.pop("headers", {}), **more) as reply:
                        assert reply.status == 200, await reply.text()
                        return await reply.read()
                except (aiohttp.ClientError, OSError):
                    await asyncio.sleep(0.1)  # who had it is dead
        raise AssertionError(path)

    async def batch(self, id: str) -> Any:
        return json.loads(await self.ask("GET", f"/batches/{id}"))

    async def order(self, count: int) -> str:
        body = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
        lines = [{"custom_id": f"{n}", "method": "POST", "url": CHAT, "body": body} for n in range(count)]
        content = "\n".join(json.dumps(line) for line in lines).encode()
        kind = FORM_TYPE.partition(": ")[2].strip()
        raw = await self.ask("POST", "/files", data=form(content, purpose="batch"), headers={"Content-Type": kind})
        order = {"input_file_id": json.loads(raw)["id"], "endpoint": CHAT, "completion_window": "24h"}
        return str(json.loads(await self.ask("POST", "/batches", json=order))["id"])

    async def far(self, id: str, lines: int) -> Any:
        """Once so many lines are done."""
        for _ in range(int(WAIT_S / 0.05)):
            batch = await self.batch(id)
            if batch["request_counts"]["completed"] >= lines and (lines < LINES or batch["status"] == "completed"):
                return batch
            await asyncio.sleep(0.05)
        raise AssertionError(batch)


HEADERS = {"Authorization": "Bearer x"}


def runner(fleet: Fleet) -> int:
    """The process that holds the lock."""
    number = str((fleet.folder / "data/batches/batches.lock").stat().st_ino)
    found = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return next(int(row[4]) for row in found if row[1] == "FLOCK" and row[5].rpartition(":")[2] == number)


def test_no_line_is_lost_or_answered_twice_whoever_dies(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, workers=2, budget=[{"usd": 1_000, "per": "total"}])

    async def scene(clients: Clients) -> None:
        owner = Owner(fleet)
        id = await owner.order(LINES)
        for part in (1, 2):
            await owner.far(id, part * LINES // 4)
            fleet.kill(runner(fleet))
        await owner.far(id, 3 * LINES // 4)
        fleet.kill(fleet.supervisor)
        fleet.start()
        await clients.ready(60)
        batch = await owner.far(id, LINES)
        assert batch["request_counts"] == {"total": LINES, "completed": LINES, "failed": 0}
        output = await owner.ask("GET", f"/files/{batch['output_file_id']}/content")
        assert [json.loads(line)["custom_id"] for line in output.splitlines()] == [f"{n}" for n in range(LINES)]
        bill, calls = await clients.bill()
        print(f"{LINES} lines, each answered once; {calls} calls at the upstream")
        assert LINES <= calls <= LINES + 3 * AT_ONCE
        standing = await clients.standing("agent:a")
        assert standing["spent"] >= bill  # what nobody saw the end of counts in full

    play(fleet, scene)


def test_a_gate_that_is_stopped_ends_its_lines_and_the_next_one_goes_on(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, workers=1)

    async def scene(clients: Clients) -> None:
        owner = Owner(fleet)
        id = await owner.order(LINES)
        await owner.far(id, LINES // 4)
        assert fleet.stop() == 0
        fleet.start()
        await clients.ready()
        batch = await owner.far(id, LINES)
        assert batch["request_counts"]["completed"] == LINES
        bill, calls = await clients.bill()
        assert calls == LINES
        assert (await clients.admin("/spend?by=agent"))["total"]["cost_usd_nanos"] == bill  # type: ignore[index]

    play(fleet, scene)
