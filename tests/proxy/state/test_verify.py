"""Whatever is edited in the file of a ledger is found, at the first row that does not fit."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.errors import ProxyError
from proxy.observed import Decision
from proxy.state import ledger_schema
from proxy.state.chain import GENESIS, link
from proxy.state.events import Event
from proxy.state.ledger_insert import Item, insert
from proxy.state.ledger_report import Verified
from proxy.state.ledger_schema import SCHEMA
from proxy.state.verify import open_read_only, pages, verify
from tests.proxy.state.samples import attempt, call, outcome, outcomes, refused

EVENT = Event(1_700_000_000_000, "topup", "agent:a", '{"amount":1}')
ROWS: tuple[Item, ...] = (
    outcome(call("one")),
    outcome(call("two"), attempt(number=1), replace(attempt(number=2), gpu_s=0.5, idle_usd_nanos=7)),
    EVENT,
    refused(call("four")),
    replace(outcome(call("five", run="r")), decisions=(Decision(2.0, "up/model was lowest in score"),)),
)
TRIGGERS = [
    f"DROP TRIGGER {table}_no_{verb}" for table in ("outcome", "attempt", "event") for verb in ("update", "delete")
]


def ledger(*items: Item) -> sqlite3.Connection:
    """As whoever can write the file has it."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SCHEMA)
    insert(connection, 1, items or ROWS)
    connection.executescript(";".join(TRIGGERS))
    return connection


def whole(connection: sqlite3.Connection, *, limit: int = 2, expect: str | None = None) -> list[Verified]:
    return list(pages(connection, expect, limit=limit))


def first_break(connection: sqlite3.Connection, limit: int) -> int | None:
    broken = whole(connection, limit=limit)[-1].broken
    return None if broken is None else broken.seq


def hash_of(connection: sqlite3.Connection, seq: int) -> str:
    query = "SELECT hash FROM outcome WHERE seq = ? UNION ALL SELECT hash FROM event WHERE seq = ?"
    return bytes(connection.execute(query, [seq, seq]).fetchone()[0]).hex()


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
def test_a_ledger_as_it_was_written_is_whole(limit: int) -> None:
    connection = ledger()
    found = whole(connection, limit=limit)
    assert found[-1].broken is None and not found[-1].more
    assert sum(page.checked for page in found) == len(ROWS)
    assert (found[-1].seq, found[-1].hash) == (5, hash_of(connection, 5))


@given(st.lists(outcomes(), max_size=8), st.integers(1, 9))
def test_whatever_was_recorded_is_whole(done: list[Item], limit: int) -> None:
    connection = ledger(*done, EVENT)
    assert first_break(connection, limit) is None


EDITS = [
    ("UPDATE outcome SET cost_usd_nanos = 1 WHERE seq = 2", 2),
    ("UPDATE outcome SET agent = 'b' WHERE seq = 5", 5),
    ("UPDATE outcome SET run = '' WHERE seq = 1", 1),
    ("UPDATE outcome SET status = '200x' WHERE seq = 4", 4),
    ("UPDATE outcome SET agent = CAST(x'ff' AS TEXT) WHERE seq = 4", 4),
    ("UPDATE outcome SET hash = x'00' WHERE seq = 2", 2),
    ("UPDATE outcome SET hash = NULL WHERE seq = 2", 2),
    ("UPDATE event SET body = '{\"amount\":2}' WHERE seq = 3", 3),
    ("UPDATE event SET hash = NULL WHERE seq = 3", 3),
    ("UPDATE attempt SET cost_usd_nanos = 0 WHERE call = 2 AND position = 1", 2),
    ("DELETE FROM attempt WHERE call = 2 AND position = 1", 2),
    ("UPDATE attempt SET idle_usd_nanos = 8 WHERE call = 2 AND position = 1", 2),
    ("UPDATE attempt SET gpu_s = NULL, idle_usd_nanos = 0 WHERE call = 2 AND position = 1", 2),
    ("UPDATE attempt SET idle_usd_nanos = 8 WHERE call = 1", 1),
    ("UPDATE attempt SET gpu_s = 0.0 WHERE call = 1", 1),
    ("UPDATE outcome SET decisions = NULL WHERE seq = 5", 5),
    ("UPDATE outcome SET decisions = '[]' WHERE seq = 5", 5),
    ("UPDATE outcome SET decisions = '[]' WHERE seq = 1", 1),
    ("UPDATE attempt SET exposure_usd_nanos = 1 WHERE call = 1", 1),
    ("UPDATE attempt SET position = 5 WHERE call = 2 AND position = 0", 2),
    ("INSERT INTO attempt (call, position, held_usd_nanos) VALUES (4, 0, 5)", 4),
    ("INSERT INTO attempt (call, position, held_usd_nanos) VALUES (0, 0, 5)", 0),
    ("INSERT INTO attempt (call, position, held_usd_nanos) VALUES (77, 0, 5)", 77),
    ("UPDATE attempt SET call = 3 WHERE call = 1", 1),
    ("DELETE FROM outcome WHERE seq = 1", 1),
    ("DELETE FROM outcome WHERE seq = 4", 4),
    ("DELETE FROM event", 3),
    ("INSERT INTO event (seq, at_ms, kind, subject, body) VALUES (6, 1, 'topup', 'agent:a', '{}')", 6),
    ("INSERT INTO event (seq, at_ms, kind, subject, body) VALUES (2, 1, 'topup', 'agent:a', '{}')", 2),
    ("INSERT INTO event (seq, at_ms, kind, subject, body) VALUES (-1, 1, 'topup', 'agent:a', '{}')", -1),
    (
        "UPDATE outcome SET seq = -1 WHERE seq = 4; UPDATE outcome SET seq = 4 WHERE seq = 5;"
        " UPDATE outcome SET seq = 5 WHERE seq = -1; UPDATE attempt SET call = 4 WHERE call = 5",
        4,
    ),
]


@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize(("edit", "seq"), EDITS)
def test_an_edit_is_found_at_its_row(edit: str, seq: int, limit: int) -> None:
    connection = ledger()
    connection.executescript(edit)
    broken = whole(connection, limit=limit)[-1].broken
    assert broken is not None and broken.seq == seq
    assert broken.why


@given(st.integers(1, 5), st.integers(0, 42), st.integers(1, 6))
def test_any_cell_of_any_call_is_covered(seq: int, column: int, limit: int) -> None:
    connection = ledger()
    names = ledger_schema.names(ledger_schema.OUTCOME_COLUMNS)[1:-1]
    name = names[column % len(names)]
    connection.execute(f"UPDATE outcome SET {name} = 'edited' WHERE seq = ?", [seq])
    assert first_break(connection, limit) == (seq if seq != 3 else None)


def test_a_row_below_the_first_is_found() -> None:
    connection = ledger()
    connection.execute("INSERT INTO outcome (seq, request_id) VALUES (0, 'x')")
    connection.execute("INSERT INTO event (seq, kind) VALUES (-7, 'x')")
    assert first_break(connection, 3) == -7


def test_a_cut_tail_shows_only_against_a_hash_that_was_kept() -> None:
    connection = ledger()
    kept = hash_of(connection, 5)
    assert whole(connection, expect=kept)[-1].expected_seq == 5
    connection.executescript("DELETE FROM outcome WHERE seq = 5; DELETE FROM attempt WHERE call = 5")
    found = whole(connection, expect=kept)
    assert found[-1].broken is None
    assert all(page.expected_seq is None for page in found)


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_a_hash_in_the_middle_is_found_wherever_pages_begin(limit: int) -> None:
    connection = ledger()
    assert {page.expected_seq for page in whole(connection, limit=limit, expect=hash_of(connection, 3))} >= {3}


def test_a_chain_made_anew_holds_but_for_the_hash_that_was_kept() -> None:
    connection = ledger(EVENT, EVENT)
    kept = hash_of(connection, 2)
    connection.execute("UPDATE event SET body = '{}' WHERE seq = 1")
    previous = GENESIS
    for row in connection.execute("SELECT seq, at_ms, kind, subject, body FROM event ORDER BY seq").fetchall():
        previous = link(previous, row)
        connection.execute("UPDATE event SET hash = ? WHERE seq = ?", [previous, row[0]])
    found = whole(connection, expect=kept)
    assert found[-1].broken is None and found[-1].expected_seq is None


def test_rows_from_before_the_chain_are_counted_and_cannot_follow_it() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SCHEMA)
    connection.executescript(";".join(TRIGGERS))
    insert(connection, 1, ROWS[:2])
    connection.execute("UPDATE outcome SET hash = NULL")
    insert(connection, 3, ROWS[2:])
    found = whole(connection)
    assert (found[0].unchained, found[0].hash) == (2, "")
    assert sum(page.checked for page in found) == 3 and found[-1].broken is None
    connection.execute("UPDATE outcome SET hash = NULL WHERE seq = 4")
    assert first_break(connection, 2) == 4


def test_a_page_begins_only_behind_a_row_that_is_still_as_it_was() -> None:
    connection = ledger()
    page = verify(connection, limit=2)
    assert page.more
    assert verify(connection, page.seq, hash=page.hash).broken is None
    assert verify(connection, page.seq, hash="00" * 32).broken is not None
    assert verify(connection, 99).broken is not None


@pytest.mark.parametrize("expect", ["", "xyz", "00"])
def test_a_hash_that_is_none_is_refused(expect: str) -> None:
    with pytest.raises(ProxyError, match="64 hexadecimal"):
        verify(ledger(), expect=expect)


def test_text_is_read_as_text_again_afterwards() -> None:
    connection = ledger()
    connection.execute("UPDATE outcome SET agent = CAST(x'ff' AS TEXT) WHERE seq = 4")
    whole(connection)
    assert connection.text_factory is str


def test_a_stopped_gates_file_is_read_and_not_written(tmp_path: Path) -> None:
    path = tmp_path / "led ger?.db"
    made = sqlite3.connect(path, isolation_level=None)
    made.execute("PRAGMA journal_mode = WAL")
    made.executescript(SCHEMA)
    insert(made, 1, ROWS)
    made.close()
    before = path.read_bytes()
    opened = open_read_only(path)
    assert whole(opened)[-1].seq == 5
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        opened.execute("CREATE TABLE more (a)")
    opened.close()
    assert path.read_bytes() == before


def test_a_file_that_is_in_use_or_no_ledger_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    made = sqlite3.connect(path, isolation_level=None)
    made.execute("PRAGMA user_version = 1")
    with pytest.raises(ProxyError, match="start the gate once"):
        open_read_only(path)
    made.execute("PRAGMA locking_mode = EXCLUSIVE")
    made.execute("PRAGMA journal_mode = WAL")
    made.execute("CREATE TABLE t (a)")
    with pytest.raises(ProxyError, match="in use by another process"):
        open_read_only(path)
    made.close()
    other = tmp_path / "text"
    other.write_text("no database" * 100)
    with pytest.raises(ProxyError, match="damaged"):
        open_read_only(other)
