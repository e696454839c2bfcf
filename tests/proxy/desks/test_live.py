"""The live feed of a process: what the ledger has taken and what the log was told, once a second."""

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec

from proxy.clock import SystemClock, loop_time
from proxy.desks.live import EVERY_S, FOLDS, STRIDE, LiveDesk
from proxy.state.ledger import Ledger
from proxy.telemetry.log import Note, RequestLog
from proxy.telemetry.metrics import Metrics
from tests import build
from tests.proxy.state.samples import attempt, call, outcome


class World:
    def __init__(self, folder: Path) -> None:
        clock = SystemClock(1, now=loop_time)
        self.ledger = Ledger.open(folder / "ledger.db")
        self.metrics = Metrics(["smart"], [build.target()])
        self.log = RequestLog(BytesIO(), clock.wall)
        self.desk = LiveDesk(self.ledger, self.metrics, self.log, clock)
        self.viewer = self.desk.feed.view()

    async def messages(self) -> list[tuple[str, Any]]:
        blocks = (await self.viewer.take()).decode().split("\n\n")[:-1]
        lines = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
        return [(line["event"], msgspec.json.decode(line["data"])) for line in lines]


async def test_each_second_tells_the_calls_that_the_ledger_has_taken(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.messages()
    for number in range(2 * STRIDE + 3):
        world.ledger.append(outcome(call(f"c{number}", agent="planner"), attempt(cost=7)))
    await world.desk.tick()
    ((kind, delta),) = await world.messages()
    assert (kind, delta["second"]["calls"], delta["agents"][0]["name"]) == ("delta", 2 * STRIDE + 3, "planner")
    assert delta["totals"]["cost_usd_nanos"] == 7 * (2 * STRIDE + 3) and not world.ledger.ended
    world.log.close()


async def test_calls_are_let_go_soon_and_told_once_a_second(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.messages()
    keeping = asyncio.get_running_loop().create_task(world.desk.keep())
    for tenth in range(FOLDS):
        world.ledger.append(outcome(call(f"c{tenth}")))
        await asyncio.sleep(EVERY_S / FOLDS + 0.001)
        assert not world.ledger.ended
    ((kind, delta),) = await world.messages()
    assert (kind, delta["second"]["calls"]) == ("delta", FOLDS)
    keeping.cancel()
    world.log.close()


async def test_gauges_are_those_of_the_metrics(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.metrics.started("smart")
    world.metrics.set("breaker_state", 1, "up/model", "open")
    await world.desk.tick()
    delta = dict(await world.messages())["delta"]
    assert (delta["gauges"]["in_flight"], delta["gauges"]["out"], delta["gauges"]["trying"]) == (1, ["up/model"], [])
    world.log.close()


async def test_an_event_is_told_at_once_whichever_thread_it_comes_from(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.messages()
    await asyncio.get_running_loop().run_in_executor(None, world.log.event, "ledger", "error", {"why": "full"})
    world.log.tell(Note("breaker", "warning", {"worker": 1}, 2.5))
    await asyncio.sleep(0)
    (kind, first), (_, second) = await world.messages()
    assert (kind, first["name"], first["fields"]) == ("event", "ledger", {"why": "full"})
    assert (second["at_ms"], second["fields"]) == (2500, {"worker": 1})
    assert [event["name"] for event in msgspec.json.decode(msgspec.json.encode(world.desk._snapshot()))["events"]] == [
        "breaker",
        "ledger",
    ]
    world.log.close()
