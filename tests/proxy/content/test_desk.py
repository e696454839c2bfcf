"""Kept words, asked for: those of a call, how much there is, what goes when."""

from __future__ import annotations

import asyncio
from pathlib import Path

from msgspec import json

from proxy.clock import SystemClock, loop_time
from proxy.content import desk as desk_module
from proxy.content.desk import ContentDesk
from proxy.content.segments import DAY_S, Writer
from proxy.state.content_report import ContentEntry
from proxy.state.report import RequestDetail

NOW = SystemClock().wall()


class Ledger:
    async def request(self, id: str) -> RequestDetail | None:
        if id not in ("one", "upstream's"):
            return None
        return RequestDetail({"request_id": "one", "at_ms": int(NOW * 1000)}, [], [], [], [])


def filled(folder: Path) -> None:
    for age in (0, 5, 9):
        wall = NOW - age * DAY_S
        entry = ContentEntry("one" if age == 0 else f"old{age}", "", "a", "m", "chat", "full")
        Writer(folder, "gate").write(json.encode(entry) + b"\n", wall)


def made(folder: Path, days: float = 7.0, size: int = 1_000_000) -> tuple[ContentDesk, list[str]]:
    told: list[str] = []
    clock = SystemClock(now=loop_time)
    return ContentDesk(folder, clock, reports=Ledger(), bounds=lambda: (days, size), failed=told.append), told


async def test_a_call_is_shown_with_its_words_by_its_own_id(tmp_path: Path) -> None:
    filled(tmp_path)
    desk, _ = made(tmp_path)
    for id in ("one", "upstream's"):
        detail = await desk.request(id)
        assert detail is not None and detail.content is not None
        assert detail.content.id == "one"
    assert await desk.request("nobody's") is None


async def test_a_call_whose_words_are_gone_is_shown_without(tmp_path: Path) -> None:
    desk, _ = made(tmp_path)
    detail = await desk.request("one")
    assert detail is not None and detail.content is None


async def test_an_operator_forgets_some_or_all(tmp_path: Path) -> None:
    filled(tmp_path)
    desk, _ = made(tmp_path)
    assert (await desk.purge(int((NOW - 7 * DAY_S) * 1000))).segments == 1
    assert (await desk.report()).segments == 2
    assert (await desk.purge(None)).segments == 2
    assert (await desk.report()).oldest is None


async def look(desk: ContentDesk) -> None:
    task = asyncio.get_running_loop().create_task(desk.keep())
    await asyncio.sleep(desk_module.LOOK_S + 1)
    task.cancel()


async def test_what_is_too_old_goes_by_itself(tmp_path: Path) -> None:
    filled(tmp_path)
    desk, _ = made(tmp_path)
    await look(desk)
    assert (await desk.report()).segments == 2


async def test_what_is_too_much_goes_by_itself(tmp_path: Path) -> None:
    filled(tmp_path)
    desk, _ = made(tmp_path, days=100, size=100)
    await look(desk)
    assert (await desk.report()).segments == 1


async def test_a_disk_that_keeps_them_is_told(tmp_path: Path, monkeypatch: object) -> None:
    filled(tmp_path)
    (broken := tmp_path / "2020-01-01.x.jsonl").mkdir()  # no file that could be unlinked
    desk, told = made(tmp_path)
    await look(desk)
    assert told and "cannot be deleted" in told[0]
    assert broken.exists()
