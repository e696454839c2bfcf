from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from proxy.caching import cabinet as subject
from proxy.caching.cabinet import LOOK_S, PATIENCE_S, Cabinet
from proxy.caching.process import process
from proxy.caching.tables import TABLES, WAIT_S, Entered, Standing
from tests.proxy.caching.samples import kept

KEY, DIGEST, OTHER = b"key", b"digest", b"another"


def opened(path: Path | None = None, said: Callable[[str], None] | None = None, wall: float = 0.0) -> Cabinet:
    made = Cabinet(path, said or _fail, lambda: wall)
    made.room.update(dict.fromkeys(TABLES, 1_000_000))
    return made


def _fail(what: str) -> None:
    raise AssertionError(what)


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as disk:
        return disk.execute(sql).fetchall()


def _holding(folder: Path, text: bytes) -> bool:
    return any(text in file.read_bytes() for file in folder.iterdir())


def change(path: Path, sql: str, *values: object) -> None:
    with sqlite3.connect(path) as disk:
        disk.execute(sql, values)


# --- the exact cache -------------------------------------------------------------------------------------------------


async def test_what_was_put_is_found_by_any_process_that_has_the_file(tmp_path: Path) -> None:
    one, other = opened(tmp_path / "c.db"), opened(tmp_path / "c.db")
    assert await one.find(KEY) is None
    one.put(KEY, kept(), 10.0)
    assert await one.find(KEY) == kept()
    assert await other.find(KEY) == kept()
    await one.close()
    assert await one.find(KEY) == kept(), "it opens again"
    await one.close()
    await other.close()
    assert stat.S_IMODE((tmp_path / "c.db").stat().st_mode) == 0o600


async def test_without_a_path_it_is_in_memory() -> None:
    one = opened()
    one.put(KEY, kept(), 10.0)
    assert await one.find(KEY) == kept()
    assert one.bytes_on_disk == 0
    await one.close()


async def test_what_is_too_much_goes_first_what_expired_and_then_what_would_next() -> None:
    one = opened(wall=5.0)
    one.room["reply"] = 10 * kept(700).size
    for number in range(40):
        one.put(b"%d" % number, kept(700), 4.0 if number == 39 else 1_000.0 + number)
    found = [number for number in range(40) if await one.find(b"%d" % number)]
    assert 39 not in found
    assert found == list(range(found[0], 39)), "the oldest went"
    assert 8 <= len(found) <= 10
    await one.close()


async def test_a_purge_takes_what_all_of_it_is_true_of(tmp_path: Path) -> None:
    one = opened(tmp_path / "c.db")
    for key, agent, route in ((b"1", "a", "m"), (b"2", "a", "n"), (b"3", "b", "m")):
        one.put(key, kept(agent=agent, route=route), 10.0)
    await one.enter(b"4", DIGEST, 0.0, until_wall=100.0)
    await one.enter(b"5", DIGEST, 0.0, until_wall=100.0)
    assert await one.done(b"5", DIGEST, kept(agent="a"), 100.0)
    assert await one.standing() == {"reply": Standing(3, 3 * kept().size), "replay": Standing(1, kept().size)}
    assert await one.purge("a", "n", None) == 1
    assert await one.purge("a", None, b"3") == 0
    assert await one.purge("a", None, None) == 2, "of both tables"
    assert await one.purge(None, None, None) == 1
    assert rows(tmp_path / "c.db", "SELECT key, state FROM replay") == [(b"4", "pending")], "what runs is not forgotten"
    await one.close()


async def test_the_room_holds_whoever_has_written_and_however_little_at_a_time(tmp_path: Path) -> None:
    room = 10 * kept(700).size
    for number in range(40):
        one = opened(tmp_path / "c.db")
        one.room.update(dict.fromkeys(TABLES, 40 * room))  # one entry does not make it look
        one.put(b"%d" % number, kept(700), 1_000.0 + number)
        await one.close()
    assert rows(tmp_path / "c.db", "SELECT count(*) FROM reply") == [(40,)]
    one = opened(tmp_path / "c.db")
    one.room.update(dict.fromkeys(TABLES, room))
    await one.find(KEY)
    await one.close()
    assert rows(tmp_path / "c.db", "SELECT count(*) FROM reply") == [(9,)]


async def test_what_has_expired_is_deleted_each_hour_and_not_counted_before(tmp_path: Path) -> None:
    one = opened(tmp_path / "c.db", wall=50.0)
    await one.find(KEY)
    one.put(b"old", kept(), 50.0)
    one.put(b"new", kept(), 51.0)
    await one.enter(b"old", DIGEST, 0.0, until_wall=100.0)
    assert await one.done(b"old", DIGEST, kept(), 50.0)
    assert await one.standing() == {"reply": Standing(1, kept().size), "replay": Standing()}
    keys = "SELECT key FROM reply UNION ALL SELECT key FROM replay"
    assert len(rows(tmp_path / "c.db", keys)) == 3
    await asyncio.sleep(LOOK_S)
    await one.find(KEY)
    await one.find(KEY)
    assert rows(tmp_path / "c.db", keys) == [(b"new",)]
    one.put(b"old", kept(), 50.0)
    await one.close()
    assert len(rows(tmp_path / "c.db", keys)) == 2
    await one.find(KEY)
    await one.close()
    assert rows(tmp_path / "c.db", keys) == [(b"new",)], "when it is opened, too"


async def test_what_was_purged_is_in_no_file(tmp_path: Path) -> None:
    one = opened(tmp_path / "c.db")
    secret = replace(kept(), body=b"ZQX-SECRET " * 2_000)
    for number in range(4):
        one.put(b"%d" % number, secret, 10.0)
    await one.enter(KEY, DIGEST, 0.0, until_wall=100.0)
    assert await one.done(KEY, DIGEST, secret, 100.0)
    assert _holding(tmp_path, b"ZQX-SECRET")
    assert await one.purge(None, None, None) == 5
    assert not _holding(tmp_path, b"ZQX-SECRET")
    await one.close()


# --- the journal -----------------------------------------------------------------------------------------------------


async def test_a_call_is_begun_once_and_then_done() -> None:
    one = opened()
    assert await one.enter(KEY, DIGEST, 0.0, until_wall=100.0) == Entered("begun")
    one.streaming(KEY)
    assert await one.done(KEY, DIGEST, kept(), 100.0)
    assert await one.enter(KEY, DIGEST, 1.0, until_wall=100.0) == Entered("done", kept())
    assert (await one.enter(KEY, OTHER, 1.0, until_wall=100.0)).state == "other"
    one.withdraw(KEY)
    assert (await one.enter(KEY, DIGEST, 1.0, until_wall=100.0)).state == "done", "what is done stays"
    assert (await one.enter(KEY, OTHER, 100.0, until_wall=200.0)).state == "begun", "its time is over"
    await one.close()


async def test_one_that_ended_without_a_reply_has_never_been() -> None:
    one = opened()
    await one.enter(KEY, DIGEST, 0.0, until_wall=100.0)
    one.withdraw(KEY)
    assert (await one.enter(KEY, OTHER, 0.0, until_wall=100.0)).state == "begun"
    await one.close()


async def test_another_living_process_that_has_begun_it_is_left_to_it(tmp_path: Path) -> None:
    file = tmp_path / "c.db"
    one = opened(file)
    await one.enter(KEY, DIGEST, 0.0, until_wall=100.0)
    change(file, "UPDATE replay SET owner = ?", process(os.getppid()))
    assert (await one.enter(KEY, DIGEST, 0.0, until_wall=100.0)).state == "elsewhere"
    assert (await one.enter(KEY, OTHER, 0.0, until_wall=100.0)).state == "other"
    one.withdraw(KEY)
    await one.find(KEY)  # its thread does one after the other
    assert rows(file, "SELECT state FROM replay") == [("pending",)], "nobody withdraws what another has begun"
    change(file, "UPDATE replay SET owner = ?", f"{os.getppid()}@1")
    assert (await one.enter(KEY, DIGEST, 0.0, until_wall=100.0)).state == "begun", "a successor of the same number"
    await one.close()


async def test_a_reply_is_written_also_when_whoever_waits_for_it_leaves(tmp_path: Path) -> None:
    one = opened(tmp_path / "c.db")
    await one.enter(KEY, DIGEST, 0.0, until_wall=100.0)
    waiting = asyncio.ensure_future(one.done(KEY, DIGEST, kept(), 100.0))  # noqa: TID251
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    one.withdraw(KEY)
    assert (await one.enter(KEY, DIGEST, 0.0, until_wall=100.0)).state == "done"
    await one.close()


# --- a disk that fails -----------------------------------------------------------------------------------------------


async def test_a_file_that_is_none_costs_misses_and_is_told_of_once(tmp_path: Path) -> None:
    (tmp_path / "c.db").write_bytes(b"no database at all" * 100)
    said: list[str] = []
    one = opened(tmp_path / "c.db", said.append)
    assert await one.find(KEY) is None
    assert await one.enter(KEY, DIGEST, 0.0, until_wall=100.0) == Entered("begun")
    assert not await one.done(KEY, DIGEST, kept(), 100.0)
    assert await one.purge(None, None, None) == 0
    assert await one.standing() == {}
    one.put(KEY, kept(), 10.0)
    assert await one.find(KEY) is None
    await asyncio.sleep(0)
    assert one.failed == 8, "and what was looked at when it was opened"
    assert said == ["DatabaseError: file is not a database"]
    await one.close()


async def test_a_full_disk_keeps_nothing_and_what_there_is_is_still_found(tmp_path: Path) -> None:
    said: list[str] = []
    one = opened(tmp_path / "c.db", said.append)
    one.put(KEY, kept(), 10.0)
    await one.find(KEY)
    assert one._connection is not None
    pages = one._connection.execute("PRAGMA page_count").fetchone()[0]
    one._connection.execute(f"PRAGMA max_page_count = {pages}")
    await one.enter(b"r", DIGEST, 0.0, until_wall=100.0)
    assert not await one.done(b"r", DIGEST, kept(500_000), 100.0)
    assert said == ["OperationalError: database or disk is full"]
    assert await one.find(KEY) == kept()
    one._connection.execute("PRAGMA max_page_count = 1000000")
    assert await one.done(b"r", DIGEST, kept(500_000), 100.0)
    await one.close()


async def test_no_call_waits_for_the_disk_beyond_half_of_what_its_deadline_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, loop = opened(None, lambda _: None), asyncio.get_running_loop()
    monkeypatch.setattr(loop, "run_in_executor", lambda *work: loop.create_future())
    began = loop.time()
    assert await one.find(KEY, by=began + 0.2) is None
    assert loop.time() - began == pytest.approx(0.1)
    assert (await one.enter(KEY, DIGEST, 0.0, until_wall=100.0, by=loop.time() + 0.2)).state == "begun"
    assert loop.time() - began == pytest.approx(0.2)
    assert not await one.done(KEY, DIGEST, kept(), 100.0, by=loop.time() + 0.2)
    assert loop.time() - began == pytest.approx(0.3)
    assert one.failed == 0, "such a short wait says nothing of the disk"
    for _ in range(20):
        await one.find(KEY, by=loop.time() + 0.2)
    assert loop.time() - began == pytest.approx(0.5), "but several without any answer do"
    assert one.failed == 1


async def test_a_file_that_another_process_holds_costs_one_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    one = opened(tmp_path / "c.db", said.append)
    await one.find(KEY)
    assert one._connection is not None
    one._connection.execute("PRAGMA busy_timeout = 1")
    asked: list[object] = []
    enter = subject.tables.enter
    monkeypatch.setattr(subject.tables, "enter", lambda *given: asked.append(given) or enter(*given))
    with sqlite3.connect(tmp_path / "c.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(5):
            assert (await one.enter(KEY, DIGEST, 0.0, until_wall=100.0)).state == "begun"
            assert not await one.done(KEY, DIGEST, kept(), 100.0)
        assert len(asked) == 1
        assert said == ["OperationalError: database is locked"]
        other.execute("ROLLBACK")
    for _ in range(100):  # nobody waits for the write that says that it is free again
        if await one.done(KEY, DIGEST, kept(), 100.0):
            break
        await asyncio.sleep(0.01)
    assert (await one.enter(KEY, DIGEST, 0.0, until_wall=100.0)).state == "done"
    await one.close()


async def test_a_call_is_more_patient_than_the_file() -> None:
    assert WAIT_S < PATIENCE_S


async def test_a_disk_that_hangs_costs_one_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    one, loop = opened(None, said.append), asyncio.get_running_loop()
    with monkeypatch.context() as patched:
        patched.setattr(loop, "run_in_executor", lambda *work: loop.create_future())  # it never answers
        before = loop.time()
        assert [await one.find(KEY) for _ in range(20)] == [None] * 20
        assert loop.time() - before == pytest.approx(PATIENCE_S)
        assert not await one.done(b"r", DIGEST, kept(), 100.0)
        assert loop.time() - before == pytest.approx(PATIENCE_S), "nor does the end of a reply wait"
        assert said == ["TimeoutError: "]
    one.put(KEY, kept(), 10.0)
    for _ in range(100):  # until what was written says that the disk is back
        if await one.find(KEY) is not None:
            break
        await asyncio.sleep(0.01)
    assert await one.find(KEY) == kept()
    await one.close()


async def test_the_end_of_a_reply_waits_for_a_disk_that_hangs_but_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    one, loop = opened(None, said.append), asyncio.get_running_loop()
    with monkeypatch.context() as patched:
        patched.setattr(loop, "run_in_executor", lambda *work: loop.create_future())
        before = loop.time()
        assert not await one.done(b"r", DIGEST, kept(), 100.0)
        assert loop.time() - before == pytest.approx(PATIENCE_S)
        assert await one.find(KEY) is None
    assert (said, one.failed) == (["TimeoutError: "], 1)
    await one.close()


async def test_replies_do_not_heap_up_before_a_disk_that_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    one = opened(None, said.append)
    monkeypatch.setattr(subject, "WAITING_MAX", 3 * kept(700).size)
    for number in range(10):
        one.put(b"%d" % number, kept(700), 10.0)
    assert said == ["OSError: the disk is too slow for the replies that are to be kept"]
    assert one.failed == 7
    found = [number for number in range(10) if await one.find(b"%d" % number)]
    assert found == [0, 1, 2]
    one.put(KEY, kept(700), 10.0)
    assert await one.find(KEY) == kept(700), "there is room again"
    await one.close()
