from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from proxy.errors import ProxyError
from proxy.state.chain import GENESIS, link
from proxy.state.ledger import GROUP_ROWS, READS_WAITING_MAX, ROWS_WAITING_MAX, Ledger
from proxy.state.ledger_rows import entry
from tests import loop
from tests.proxy.state.samples import attempt, call, outcome, refused


def count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM outcome").fetchone()[0])


def ids(connection: sqlite3.Connection) -> list[str]:
    return [id for (id,) in connection.execute("SELECT request_id FROM outcome ORDER BY seq")]


async def test_what_is_appended_is_written_in_order_with_one_row_an_attempt(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    for number in range(3):
        ledger.append(outcome(call(f"r{number}"), attempt(), attempt(number=2)))
    assert ledger.waiting == 9
    assert ledger.step() == 9
    assert (ledger.waiting, ledger.written, ledger.commits) == (0, 9, 1)
    assert await ledger.query(ids) == ["r0", "r1", "r2"]
    assert ledger.posted_usd_nanos == 6_000


async def test_a_question_is_answered_with_everything_appended_before_it(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    ledger.start()
    for number in range(2_000):
        ledger.append(outcome(call(str(number))))
    assert await ledger.query(count) == 2_000
    ledger.close()


async def test_a_group_is_bounded_so_that_no_commit_is_long(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    for _ in range(GROUP_ROWS):
        ledger.append(outcome())
    assert ledger.step() == GROUP_ROWS
    assert ledger.step() == GROUP_ROWS
    assert ledger.step() == 0


async def test_numbering_goes_on_after_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        ledger = Ledger.open(tmp_path / "ledger.db")
        ledger.append(outcome())
        ledger.close()
    ledger = Ledger.open(tmp_path / "ledger.db")
    rows = await ledger.query(
        lambda file: file.execute("SELECT seq, call FROM outcome, attempt ON seq = call").fetchall()
    )
    assert rows == [(1, 1), (2, 2)]


async def test_one_counter_runs_over_calls_and_events_also_after_a_restart(tmp_path: Path) -> None:
    for start in (0, 4):
        ledger = Ledger.open(tmp_path / "ledger.db", wall=lambda: 1_700_000_000.5)
        assert ledger.appended_seq == ledger.head.seq == start
        ledger.append(outcome(call("own")))
        ledger.append_event("run", "r", {"kind": "pause"})
        ledger.append_entry(entry(outcome(call("sent"), attempt(cost=7))))
        ledger.append_event("limit", "key:k", [1])
        assert (ledger.waiting, ledger.appended_seq) == (6, start + 4)
        assert ledger.step() == 6
        assert (ledger.head.seq, ledger.posted_usd_nanos) == (start + 4, 1_007)
        events = await ledger.query(
            lambda file: file.execute("SELECT seq, at_ms, kind, subject, body FROM event").fetchall()
        )
        head = ledger.head
        ledger.close()
    assert events[:2] == [
        (2, 1_700_000_000_500, "run", "r", '{"kind":"pause"}'),
        (4, 1_700_000_000_500, "limit", "key:k", "[1]"),
    ]
    assert [row[0] for row in events] == [2, 4, 6, 8]
    again = Ledger.open(tmp_path / "ledger.db")
    assert again.head == head


async def test_the_hash_of_each_row_follows_from_the_one_before(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    ledger.append_event("run", "r", {})
    ledger.step()
    ledger.close()
    ledger = Ledger.open(tmp_path / "ledger.db")
    ledger.append_event("run", "r", {})
    ledger.step()
    rows = await ledger.query(lambda file: file.execute("SELECT * FROM event ORDER BY seq").fetchall())
    previous = GENESIS
    for *row, digest in rows:
        assert digest == link(previous, row)
        previous = digest
    assert ledger.head.hash == previous


async def test_what_lies_beside_is_synced_before_each_commit_and_when_it_is_asked_for(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    written: list[int] = []
    ledger.sync_beside(lambda: written.append(ledger.written))
    ledger.append(outcome())
    ledger.step()
    assert written == [0]
    ledger.step()
    assert written == [0, 2]
    synced = threading.Event()
    ledger.sync_beside(synced.set)
    ledger.start()
    ledger.wake()
    assert synced.wait(10)
    ledger.close()


async def test_a_sync_beside_that_fails_stops_new_calls(tmp_path: Path) -> None:
    said: list[str] = []
    ledger = Ledger.open(tmp_path / "ledger.db", said.append)

    def fail() -> None:
        raise OSError("Input/output error")

    ledger.sync_beside(fail)
    ledger.append(outcome())
    ledger.step()
    assert (ledger.accepting, ledger.waiting) == (False, 2)
    assert "Input/output error" in said[0]
    with pytest.raises(ProxyError, match="cannot be written"):
        ledger.write_now()


def test_before_the_start_a_damaged_file_is_told_in_words(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    assert ledger.read_now(count) == 0

    def damaged(file: sqlite3.Connection) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    with pytest.raises(ProxyError, match="is damaged"):
        ledger.read_now(damaged)


async def test_closing_writes_what_waits_with_the_thread_too(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    ledger.start()
    for _ in range(1_000):
        ledger.append(outcome())
    ledger.close()
    assert (ledger.waiting, ledger.accepting) == (0, False)


async def test_too_much_waiting_refuses_new_calls_but_no_settlement(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    for _ in range(ROWS_WAITING_MAX // 2):
        ledger.append(outcome())
    assert ledger.accepting
    ledger.append(refused())
    assert not ledger.accepting
    ledger.append(outcome(call("the last")))
    await ledger.flush()
    assert ledger.accepting
    assert (await ledger.query(ids))[-1] == "the last"


def test_lag_is_the_age_of_the_oldest_call_that_is_not_written(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    assert ledger.lag_s(2_000.0) == 0.0
    ledger.append(outcome(call(at_s=0.0), duration_s=2.0))
    ledger.append(outcome(call(at_s=50.0)))
    assert ledger.lag_s(1_010.0) == 8.0
    ledger.step()
    assert ledger.lag_s(1_010.0) == 0.0
    ledger.append_entry(entry(outcome(call(at_s=5.0), duration_s=2.0)))
    assert ledger.lag_s(1_010.0) == 3.0
    ledger.step()
    ledger.append_event("run", "r", {})
    assert ledger.lag_s(1_010.0) == 0.0


async def test_a_failed_question_fails_for_its_asker_only(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    ledger.append(outcome())
    with pytest.raises(sqlite3.OperationalError):
        await ledger.query(lambda file: file.execute("SELECT nonsense"))
    assert await ledger.query(count) == 1
    assert ledger.accepting


async def test_questions_waiting_are_bounded(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    ledger._thread = threading.Thread()  # a writer that never comes
    asked = asyncio.gather(*(ledger.query(count) for _ in range(READS_WAITING_MAX)))
    await asyncio.sleep(0)
    with pytest.raises(ProxyError) as refusal:
        await ledger.query(count)
    assert refusal.value.code == "overloaded"
    ledger.step()
    assert await asked == [0] * READS_WAITING_MAX


async def test_a_long_question_ends_when_settlements_pile_up_behind_it(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")

    def endless(file: sqlite3.Connection) -> None:
        for _ in range(ROWS_WAITING_MAX // 4 + 1):
            ledger.append(outcome())
        file.execute("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n").fetchall()

    with pytest.raises(ProxyError) as refusal:
        await ledger.query(endless)
    assert refusal.value.code == "overloaded"
    await ledger.flush()
    assert await ledger.query(count) == ROWS_WAITING_MAX // 4 + 1


async def test_a_failed_commit_stops_new_calls_keeps_what_waits_and_is_never_tried_again(tmp_path: Path) -> None:
    said: list[str] = []
    ledger = Ledger.open(tmp_path / "ledger.db", said.append)
    ledger.append(outcome(call("safe")))
    await ledger.flush()
    await ledger.query(_allow_no_more_pages)
    for _ in range(300):
        ledger.append(outcome())
    with pytest.raises(ProxyError) as refusal:
        await ledger.flush()
    assert refusal.value.code == "ledger_unavailable"
    assert (ledger.accepting, ledger.failed, ledger.waiting) == (False, 1, 600)
    assert len(said) == 1 and "full" in said[0]
    await ledger.query(lambda file: file.execute("PRAGMA max_page_count = 1000000"))
    ledger.append(outcome())
    assert ledger.step() == 0
    assert await ledger.query(ids) == ["safe"]
    assert (ledger.failed, ledger.waiting) == (1, 602)


def _allow_no_more_pages(file: sqlite3.Connection) -> None:
    """A disk that is full."""
    (pages,) = file.execute("PRAGMA page_count").fetchone()
    file.execute(f"PRAGMA max_page_count = {pages}")


async def test_a_file_that_is_removed_under_the_writer_stops_it(tmp_path: Path) -> None:
    said: list[str] = []
    ledger = Ledger.open(tmp_path / "ledger.db", said.append)
    (tmp_path / "ledger.db").unlink()
    ledger.append(outcome())
    ledger.step()
    assert not ledger.accepting
    assert said and "No such file" in said[0]


def test_a_second_opener_is_told_that_the_ledger_is_in_use(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    script = f"""
from pathlib import Path
from proxy.errors import ProxyError
from proxy.state.ledger import Ledger
try:
    Ledger.open(Path({str(tmp_path / "ledger.db")!r}))
except ProxyError as error:
    print(error.code, error.message)
"""
    command = [sys.executable, "-c", script]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert second.stdout.startswith("ledger_unavailable ") and str(tmp_path) in second.stdout
    assert "in use by another process" in second.stdout
    ledger.close()
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == ""


def test_a_newer_file_is_refused_by_name(tmp_path: Path) -> None:
    Ledger.open(tmp_path / "ledger.db").close()
    with sqlite3.connect(tmp_path / "ledger.db") as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    with pytest.raises(ProxyError, match="version 99"):
        Ledger.open(tmp_path / "ledger.db")


def test_what_is_no_ledger_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_bytes(b"not a database at all" * 100)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as file:
        file.execute("CREATE TABLE t (x)")
    file.close()
    for path in (text, other, tmp_path):
        with pytest.raises(ProxyError) as refusal:
            Ledger.open(path)
        assert refusal.value.code == "ledger_unavailable"
    assert text.read_bytes() == b"not a database at all" * 100


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "new" / "ledger.db")
    ledger.append(outcome())
    ledger.step()
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()} == {0o600}
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"ledger.db", "ledger.db-wal"}


async def test_commits_are_synced_and_the_file_is_locked_for_one(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")

    def settings(file: sqlite3.Connection) -> list[object]:
        names = ("locking_mode", "journal_mode", "synchronous", "recursive_triggers")
        return [file.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await ledger.query(settings) == ["exclusive", "wal", 2, 1]


async def test_not_even_replace_removes_a_row(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    ledger.append(outcome())
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        await ledger.query(lambda file: file.execute("INSERT OR REPLACE INTO outcome SELECT * FROM outcome"))


WRITER = """
import asyncio, sys
from pathlib import Path
from proxy.state.ledger import Ledger
from tests import loop
from tests.proxy.state.samples import call, outcome

async def main():
    ledger = Ledger.open(Path(sys.argv[1]))
    ledger.start()
    for group in range(100_000):
        for number in range(20):
            ledger.append(outcome(call(f"{group}.{number}")))
        await ledger.flush()
        print(group, flush=True)

asyncio.run(main())
"""


def until_killed(path: Path, acknowledged: int) -> int:
    """The last group that a writer said was on the disk."""
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = next(line for line in writer.stdout if int(line) >= acknowledged)
        os.kill(writer.pid, signal.SIGKILL)
        return int(re.findall(r"(\d+)\n", said + writer.stdout.read())[-1])


async def survivors(path: Path) -> list[str]:
    ledger = Ledger.open(path)
    assert await ledger.query(lambda file: file.execute("PRAGMA integrity_check").fetchall()) == [("ok",)]
    orphans = "SELECT count(*) FROM attempt WHERE call NOT IN (SELECT seq FROM outcome)"
    assert await ledger.query(lambda file: file.execute(orphans).fetchone()) == (0,)
    found = await ledger.query(ids)
    ledger.close()
    return found


def test_no_acknowledged_row_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    before = 0
    for acknowledged in (3, 25):
        last = until_killed(tmp_path / "ledger.db", acknowledged)
        found = loop.run(survivors(tmp_path / "ledger.db"))
        expected = [f"{group}.{number}" for group in range(last + 1) for number in range(20)]
        assert found[before : before + len(expected)] == expected
        before = len(found)
