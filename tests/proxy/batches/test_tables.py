"""What SQLite keeps: a line counts once, a change is never lost between two processes, old things go."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path

import pytest
from msgspec import structs

from proxy.batches import tables
from proxy.batches.objects import Batch, File
from proxy.batches.tables import Full, Page
from tests.proxy.batches.test_objects import batch


@pytest.fixture
def connection(tmp_path: Path) -> sqlite3.Connection:
    return tables.connect(tmp_path / "batches" / "batches.db")


def file(id: str, size: int = 10, *, owner: str = "key k", until: int = 1_000) -> File:
    return File(id, owner, "in.jsonl", "batch", size, 0, until)


def found(connection: sqlite3.Connection, id: str = "batch_1") -> Batch:
    batch = tables.batch_of(connection, None, id)
    assert batch is not None
    return batch


def test_a_line_counts_once_whoever_says_it_twice(connection: sqlite3.Connection) -> None:
    with connection:
        tables.add_batch(connection, batch())
    for good, number in ((True, 0), (True, 0), (False, 0), (False, 2), (True, 1)):
        with connection:
            tables.add_line(connection, "batch_1", number, good=good, entry=b"entry")
    assert (found(connection).completed, found(connection).failed) == (2, 1)
    assert sorted(tables.numbers(connection, "batch_1")) == [0, 1, 2]
    assert tables.entries(connection, "batch_1", 0, 10) == [(1, True, b"entry"), (2, False, b"entry")]
    assert tables.entries(connection, "batch_1", -1, 6) == [(0, True, b"entry"), (1, True, b"entry")]  # bytes, about
    assert tables.entries(connection, "batch_1", -1, 1) == [(0, True, b"entry")]  # one always
    assert tables.used(connection) == 15


def test_what_one_process_does_another_does_not_undo(connection: sqlite3.Connection, tmp_path: Path) -> None:
    other = tables.connect(tmp_path / "batches" / "batches.db")
    with connection:
        tables.add_batch(connection, batch("in_progress"))
    cancel = partial(Batch.moved, status="cancelling", wall=5.0)
    finalize = partial(Batch.moved, status="finalizing", wall=6.0)
    with other:
        cancelled = tables.change(other, "batch_1", cancel)
    with connection:
        assert tables.change(connection, "batch_1", finalize) is None
    assert cancelled is not None
    assert found(connection).status == "cancelling"


def test_a_batch_that_has_ended_has_its_files_and_no_lines(connection: sqlite3.Connection) -> None:
    with connection:
        tables.add_batch(connection, batch("finalizing"))
        tables.add_line(connection, "batch_1", 0, good=True, entry=b"entry")
    with connection:
        tables.conclude(connection, "batch_1", [file("out")], partial(Batch.moved, status="completed", wall=7.0))
    assert (found(connection).status, found(connection).completed) == ("completed", 1)
    assert tables.numbers(connection, "batch_1") == []
    assert tables.used(connection) == 10
    assert tables.file_of(connection, "key k", "out", 0.0) == file("out")


def test_files_have_so_much_room_together(connection: sqlite3.Connection) -> None:
    """Of which a quarter is for what batches write: uploads alone never stop them."""
    with connection:
        tables.add_file(connection, file("a", 60), 100)
    with pytest.raises(Full), connection:
        tables.add_file(connection, file("b", 16), 100)
    with connection:
        tables.add_file(connection, file("c", 15), 100)
    assert [each.id for each in tables.files(connection, "key k", Page(10), 0.0)] == ["c", "a"]


def test_an_owner_has_so_many(connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "FILES_OWNED_MAX", 1)
    monkeypatch.setattr(tables, "BATCHES_WAITING_MAX", 1)
    with connection:
        tables.add_file(connection, file("a"), 100)
        connection.commit()
        tables.add_batch(connection, batch())
    with pytest.raises(Full), connection:
        tables.add_file(connection, file("b"), 100)
    with pytest.raises(Full), connection:
        tables.add_batch(connection, structs.replace(batch(), id="batch_2"))
    with connection:
        tables.add_file(connection, file("b", owner="key l"), 100)


def test_what_is_too_old_goes_but_not_what_a_batch_still_reads(connection: sqlite3.Connection) -> None:
    with connection:
        for name in ("file-1", "old"):
            tables.put_file(connection, file(name))
        tables.put_file(connection, file("new", until=5_000))
        connection.commit()
        tables.add_batch(connection, batch())
        connection.commit()
        ended = structs.replace(batch("failed"), id="batch_2", failed_at=100)
        tables.add_batch(connection, ended)
    with connection:
        assert tables.sweep(connection, 1_000.0, 901.0) == {"file-1", "new"}
    assert tables.batch_of(connection, None, "batch_2") is not None
    with connection:
        tables.sweep(connection, 1_001.0, 901.0)
    assert tables.batch_of(connection, None, "batch_2") is None
    assert found(connection).status == "validating"


def test_a_file_that_a_batch_reads_stays(connection: sqlite3.Connection) -> None:
    with connection:
        tables.put_file(connection, file("file-1"))
        connection.commit()
        tables.add_batch(connection, batch())
    with connection:
        assert tables.remove_file(connection, "file-1") == "batch_1"
    with connection:
        tables.change(connection, "batch_1", partial(Batch.moved, status="failed", wall=1.0))
    with connection:
        assert tables.remove_file(connection, "file-1") is None
    assert tables.file_of(connection, "key k", "file-1", 0.0) is None
