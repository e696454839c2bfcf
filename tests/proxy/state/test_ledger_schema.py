from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from msgspec.structs import replace

from proxy.errors import ProxyError
from proxy.state.chain import GENESIS
from proxy.state.events import Event
from proxy.state.ledger import Ledger
from proxy.state.ledger_insert import insert
from proxy.state.ledger_schema import SCHEMA, SCHEMA_VERSION, STEPS, names, refusal
from proxy.state.verify import verify
from tests.proxy.state.samples import attempt, call, outcome


def version_1(path: Path, rows: int) -> None:
    """A file as the first version wrote it: columns by name, no chain."""
    file = sqlite3.connect(path, isolation_level=None)
    file.executescript(STEPS[0] + "PRAGMA user_version = 1; PRAGMA journal_mode = WAL;")
    for seq in range(1, rows + 1):
        file.execute("INSERT INTO outcome (seq, request_id, at_ms, agent) VALUES (?, ?, 5, 'a')", [seq, f"old-{seq}"])
        file.execute("INSERT INTO attempt (call, position, cost_usd_nanos) VALUES (?, 0, 7)", [seq])
    file.close()


def shape(file: sqlite3.Connection) -> list[tuple[str, str]]:
    return file.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()


async def test_a_file_of_version_1_becomes_one_of_the_present_version_in_place(tmp_path: Path) -> None:
    version_1(tmp_path / "ledger.db", 3)
    ledger = Ledger.open(tmp_path / "ledger.db")
    assert (ledger.head.seq, ledger.head.hash) == (3, GENESIS)
    ledger.append(outcome(call("new")))
    ledger.append_event("run", "r", {})
    await ledger.flush()
    assert await ledger.query(lambda file: file.execute("PRAGMA user_version").fetchone()) == (SCHEMA_VERSION,)
    rows = await ledger.query(
        lambda file: file.execute("SELECT seq, request_id, charges, hash IS NULL FROM outcome").fetchall()
    )
    assert rows == [(1, "old-1", None, 1), (2, "old-2", None, 1), (3, "old-3", None, 1), (4, "new", None, 0)]
    assert await ledger.query(lambda file: file.execute("SELECT seq FROM event").fetchall()) == [(5,)]
    fresh = Ledger.open(tmp_path / "fresh.db")
    assert await ledger.query(shape) == await fresh.query(shape)


async def test_the_chain_of_a_file_without_engines_still_verifies_after_the_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    file = sqlite3.connect(path, isolation_level=None)
    file.executescript("".join(STEPS[:2]) + "PRAGMA user_version = 2; PRAGMA journal_mode = WAL;")
    insert(file, 1, [outcome(call("one")), outcome(call("two"))])
    file.close()
    ledger = Ledger.open(path)
    ledger.append(outcome(call("three"), replace(attempt(), gpu_s=0.5)))
    await ledger.flush()
    found = await ledger.query(verify)
    assert (found.checked, found.broken) == (3, None)


async def test_the_next_start_changes_nothing_more(tmp_path: Path) -> None:
    version_1(tmp_path / "ledger.db", 1)
    for _ in range(2):
        ledger = Ledger.open(tmp_path / "ledger.db")
        ledger.append(outcome())
        ledger.close()
    ledger = Ledger.open(tmp_path / "ledger.db")
    assert ledger.head.seq == 3


async def test_an_upgrade_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    version_1(tmp_path / "ledger.db", 1)
    with sqlite3.connect(tmp_path / "ledger.db") as file:
        file.execute("CREATE TABLE event (somebody_elses INTEGER)")
    file.close()
    with pytest.raises(ProxyError, match="event"):
        Ledger.open(tmp_path / "ledger.db")
    file = sqlite3.connect(tmp_path / "ledger.db")
    assert file.execute("PRAGMA user_version").fetchone() == (1,)
    assert "hash" not in [row[1] for row in file.execute("PRAGMA table_info(outcome)")]
    file.close()


def test_a_column_is_named_by_its_first_word() -> None:
    assert names(("seq INTEGER PRIMARY KEY", "hash BLOB")) == ("seq", "hash")


@pytest.mark.parametrize("table", ["outcome", "attempt", "event"])
@pytest.mark.parametrize("change", ["UPDATE {} SET {} = 1", "DELETE FROM {}"])
def test_a_row_once_written_cannot_be_changed_or_removed(table: str, change: str) -> None:
    file = sqlite3.connect(":memory:", isolation_level=None)
    file.executescript(SCHEMA)
    insert(file, 1, [outcome(), Event(1, "run", "r", "{}")])
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        file.execute(change.format(table, {"outcome": "status", "attempt": "status", "event": "body"}[table]))


async def test_a_damaged_file_is_refused_with_what_would_mend_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path)
    for number in range(200):
        ledger.append(outcome(call(str(number))))
    ledger.close()
    data = path.read_bytes()
    path.write_bytes(data[:100] + b"\xff" * 4_000 + data[4_100:])
    with pytest.raises(ProxyError, match=r"is damaged .* restore it from a backup") as refused:
        Ledger.open(path)
    assert refused.value.code == "ledger_unavailable"


def test_each_reason_has_words_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    own = ProxyError("ledger_unavailable", "as it is")
    assert refusal(own, path) is own
    assert "in use by another process" in refusal(sqlite3.OperationalError("database is locked"), path).message
    assert "cannot be used: no space" in refusal(OSError("no space"), path).message
