from __future__ import annotations

import asyncio
from pathlib import Path

from proxy.clock import SystemClock
from proxy.demo.result import Event, Result
from proxy.demo.stage import Script, Stage
from proxy.demo.view import Picture


class Notes:
    """A watcher that remembers."""

    every_s = 1.0

    def __init__(self) -> None:
        self.pictures: list[Picture] = []
        self.events: list[Event] = []

    def show(self, picture: Picture) -> None:
        self.pictures.append(picture)

    def event(self, event: Event) -> None:
        self.events.append(event)


async def played(folder: Path, *, seed: int = 1, seconds: float = 6.0, stop_after_s: float | None = None) -> Result:
    stopping = asyncio.Event()
    if stop_after_s is not None:
        asyncio.get_running_loop().call_later(stop_after_s, stopping.set)
    async with Stage(Script(seconds, seed), folder, SystemClock(seed), stopping) as stage:
        return await stage.play(Notes())


async def test_the_ledger_equals_the_bill_to_the_last_nano_dollar(tmp_path: Path) -> None:
    result = await played(tmp_path, seconds=30.0, seed=3)
    assert result.check.bill_usd_nanos > 0
    print(result)
    assert result.exact and result.check.difference_usd_nanos == 0
