from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator

import pytest

from proxy.caching import tables
from proxy.caching.process import process
from proxy.caching.tables import Begun, Entered, Standing
from tests.proxy.caching.samples import kept

KEY, DIGEST, OTHER = b"key", b"digest", b"another"
US = Begun(DIGEST, 100.0, "us")


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = tables.connect(None)
    tables.put(made, KEY, kept(), 100.0)
    tables.done(made, KEY, kept(), US)
    made.commit()
    yield made
    made.close()


def entered(connection: sqlite3.Connection, begun: Begun = US) -> Entered:
    with connection:
        return tables.enter(connection, KEY, begun, 0.0)


def test_what_was_written_is_read(connection: sqlite3.Connection) -> None:
    assert tables.find(connection, KEY) == kept()
    assert entered(connection) == Entered("done", kept())
    assert tables.standing(connection, 0.0) == {"reply": Standing(1, 310), "replay": Standing(1, 310)}


@pytest.mark.parametrize("odd", [None, "text", b"", b"\x00", 7, 0.5, -1, "9" * 30, 2**62])
@pytest.mark.parametrize("column", ["agent", "route", "until", "size", "kept", "digest", "state", "owner"])
def test_a_row_of_other_types_is_none_or_as_it_was(connection: sqlite3.Connection, column: str, odd: object) -> None:
    """Whatever else wrote to the file."""
    for table in ("reply", "replay") if column in ("agent", "route", "until", "size", "kept") else ("replay",):
        connection.execute(f"UPDATE {table} SET {column} = ?", (odd,))
    connection.commit()
    assert tables.find(connection, KEY) == (None if column == "kept" else kept())
    assert all(type(part.size) is int for part in tables.standing(connection, 0.0).values())
    with connection:
        tables.trim(connection, "replay", 1_000, 0.0)
    assert entered(connection) in (Entered("begun"), Entered("done", kept()))
    assert tables.find(connection, OTHER) is None


@pytest.mark.parametrize("odd", [None, "x@y", "", b"\xff", 7.5, "-1@", "9" * 5000])
def test_what_nobody_has_begun_is_begun(connection: sqlite3.Connection, odd: object) -> None:
    connection.execute("UPDATE replay SET state = 'pending', owner = ?", (odd,))
    connection.commit()
    assert entered(connection) == Entered("begun")


def test_a_reply_under_a_digest_that_is_not_its_own_is_none(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE replay SET digest = ?", (OTHER,))
    connection.commit()
    assert entered(connection) == Entered("begun"), "not another question"
    assert entered(connection, US._replace(digest=OTHER)) == Entered("begun")


def test_rows_without_a_time_or_a_size_go_with_what_has_expired(connection: sqlite3.Connection) -> None:
    for key, until, size in (
        (b"1", None, 10),
        (b"2", 200.0, "text"),
        (b"3", 5.0, 10),
        (b"4", 5.5, 10),
        (b"5", 200.0, 2**62),
    ):
        connection.execute("INSERT INTO reply VALUES (?, 'a', 'm', ?, ?, x'00')", (key, until, size))
    tables.trim(connection, "reply", 1_000, 5.0)
    assert connection.execute("SELECT key FROM reply ORDER BY key").fetchall() == [(b"4",), (KEY,)]


def test_only_a_file_that_is_held_is_busy() -> None:
    held = sqlite3.OperationalError()
    assert not tables.busy(held), "one of Python's own has no number"
    held.sqlite_errorcode = sqlite3.SQLITE_BUSY | 2 << 8
    assert tables.busy(held)
    held.sqlite_errorcode = sqlite3.SQLITE_FULL
    assert not tables.busy(held)
    assert not tables.busy(OSError())


def test_a_row_without_a_time_does_not_wait_for_whoever_it_names(connection: sqlite3.Connection) -> None:
    """Else it would stand for ever."""
    alive = process(os.getppid())
    for until, state in ((50.0, "elsewhere"), ("text", "begun"), (None, "begun")):
        with connection:
            connection.execute("UPDATE replay SET state = 'pending', owner = ?, until = ?", (alive, until))
        assert entered(connection).state == state
