"""What SQLite is told of files, batches and lines that are done: one file for all processes of a gate.

A line that is done is a row from the transaction on that counts it, so it is never run again; the rows go when the
output files are written. A batch is changed by whoever has read it in the same transaction, so an owner's `cancel` and
the one process that runs batches never overwrite each other. WAL with `synchronous=NORMAL`: a killed process loses
nothing, a power cut the last few lines.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct, json, structs

from proxy.batches.objects import ENDED, WINDOW_S, Batch, File

WAIT_S: Final = 5.0  # for another process's transaction
NAME: Final = "batches.db"
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS file (id TEXT PRIMARY KEY, owner TEXT, purpose TEXT, bytes INTEGER, until INTEGER,
  file BLOB);
CREATE TABLE IF NOT EXISTS batch (id TEXT PRIMARY KEY, owner TEXT, status TEXT, input TEXT, completed INTEGER,
  failed INTEGER, bytes INTEGER, batch BLOB);
CREATE TABLE IF NOT EXISTS line (batch TEXT, number INTEGER, good INTEGER, entry BLOB, PRIMARY KEY (batch, number));
CREATE INDEX IF NOT EXISTS batch_status ON batch (status);
"""
BATCH: Final = "SELECT batch, completed, failed FROM batch"
OF_OWNER: Final = "WHERE owner = coalesce(:owner, owner) "
FILES: Final = "SELECT file FROM file WHERE owner = :owner AND until > :wall AND purpose = coalesce(:purpose, purpose) "
UNENDED: Final = f"status NOT IN ({', '.join(repr(status) for status in sorted(ENDED))})"
WRITTEN_SHARE: Final = 4  # a quarter of the room is not for uploads: one owner's would stop the batches of all
FILES_OWNED_MAX: Final = 10_000
BATCHES_WAITING_MAX: Final = 1_000  # of one owner that have not ended
AGAIN_S: Final = 1_800  # a client that says it repeats itself has done so by then: SDKs wait 600 s, three times

_FILE: Final = json.Decoder(File)
_BATCH: Final = json.Decoder(Batch)


class Page(Struct, frozen=True):
    """What of a list is wanted. `after`: the id behind which it begins."""

    limit: int
    after: str | None = None
    newest_first: bool = True
    purpose: str | None = None  # of files


class Conflict(Exception):
    """Another order came under the same name."""


class Full(Exception):
    """There is no room: the message says for what."""


def connect(path: Path) -> sqlite3.Connection:
    """Raises sqlite3.Error and OSError."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
    connection = sqlite3.connect(path, timeout=WAIT_S, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA secure_delete=ON")  # answers that are in their files by then
    connection.executescript(SCHEMA)
    return connection


# --- files -----------------------------------------------------------------------------------------------------------


def used(connection: sqlite3.Connection) -> int:
    """Bytes of all files, and of the lines that are not in one yet."""
    row = connection.execute(
        "SELECT (SELECT coalesce(sum(bytes), 0) FROM file) + (SELECT coalesce(sum(bytes), 0) FROM batch)"
    )
    return int(row.fetchone()[0])


def add_file(connection: sqlite3.Connection, file: File, room: int) -> None:
    """Raises Full. `room`: bytes for all files together."""
    connection.execute("BEGIN IMMEDIATE")
    if used(connection) + file.bytes > room - room // WRITTEN_SHARE:
        raise Full("there is no room for it among the files that are kept: delete some")
    count = connection.execute("SELECT count(*) FROM file WHERE owner = ?", (file.owner,)).fetchone()[0]
    if count >= FILES_OWNED_MAX:
        raise Full(f"{FILES_OWNED_MAX} files are kept already: delete some")
    put_file(connection, file)


def put_file(connection: sqlite3.Connection, file: File) -> None:
    row = (file.id, file.owner, file.purpose, file.bytes, file.expires_at, json.encode(file))
    connection.execute("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?)", row)


def file_of(connection: sqlite3.Connection, owner: str, id: str, wall: float) -> File | None:
    sql = "SELECT file FROM file WHERE id = ? AND owner = ? AND until > ?"
    row = connection.execute(sql, (id, owner, wall)).fetchone()
    return None if row is None else _FILE.decode(row[0])


def files(connection: sqlite3.Connection, owner: str, page: Page, wall: float) -> list[File]:
    """One more than the page may have, if there is one."""
    given = {"owner": owner, "purpose": page.purpose, "wall": wall}
    return [_FILE.decode(row[0]) for row in _page(connection, FILES, page, given)]


def remove_file(connection: sqlite3.Connection, id: str) -> str | None:
    """The batch that still reads it, if one does: then it stays."""
    connection.execute("BEGIN IMMEDIATE")
    row = connection.execute(f"SELECT id FROM batch WHERE input = ? AND {UNENDED}", (id,)).fetchone()  # noqa: S608
    if row is not None:
        return str(row[0])
    connection.execute("DELETE FROM file WHERE id = ?", (id,))
    return None


# --- batches ---------------------------------------------------------------------------------------------------------


def add_batch(connection: sqlite3.Connection, batch: Batch, *, again: bool = False) -> Batch:
    """The one that there is from now on: of an order that came twice it is the first. `again`: the client says that it
    repeats itself. Raises Full, and Conflict."""
    connection.execute("BEGIN IMMEDIATE")
    if (again or batch.named is not None) and (first := _ordered(connection, batch)) is not None:
        return first
    sql = f"SELECT count(*) FROM batch WHERE owner = ? AND {UNENDED}"  # noqa: S608  # our own words only
    if connection.execute(sql, (batch.owner,)).fetchone()[0] >= BATCHES_WAITING_MAX:
        raise Full(f"{BATCHES_WAITING_MAX} batches have not ended yet")
    row = (batch.id, batch.owner, batch.status, batch.input_file_id, 0, 0, 0, json.encode(batch))
    connection.execute("INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    return batch


def _ordered(connection: sqlite3.Connection, batch: Batch) -> Batch | None:
    """By its name within a batch's day; without one, by what was asked for, shortly before. Raises Conflict."""
    since = batch.created_at - (AGAIN_S if batch.named is None else WINDOW_S)
    for row in connection.execute(f"{BATCH} WHERE owner = ? ORDER BY id DESC", (batch.owner,)):
        found = _batch(row)
        if found.created_at < since:
            return None
        if found.named != batch.named or found.identity.key_id != batch.identity.key_id:
            continue
        if found.order == batch.order:
            return found
        if batch.named is not None:
            raise Conflict
    return None


def batch_of(connection: sqlite3.Connection, owner: str | None, id: str) -> Batch | None:
    """`owner` None: whosever it is."""
    row = connection.execute(f"{BATCH} WHERE id = ? AND owner = coalesce(?, owner)", (id, owner)).fetchone()
    return None if row is None else _batch(row)


def batches(connection: sqlite3.Connection, owner: str | None, page: Page) -> list[Batch]:
    """One more than the page may have, if there is one."""
    return [_batch(row) for row in _page(connection, f"{BATCH} {OF_OWNER}", page, {"owner": owner})]


def unended(connection: sqlite3.Connection) -> list[Batch]:
    """The oldest first."""
    return [_batch(row) for row in connection.execute(f"{BATCH} WHERE {UNENDED} ORDER BY id").fetchall()]


def change(connection: sqlite3.Connection, id: str, to: Callable[[Batch], Batch | None]) -> Batch | None:
    """`to` is given the batch as it is; what it returns is written. None: nothing was."""
    connection.execute("BEGIN IMMEDIATE")
    row = connection.execute(f"{BATCH} WHERE id = ?", (id,)).fetchone()
    changed = None if row is None else to(_batch(row))
    if changed is not None:
        values = (changed.status, json.encode(changed), id)
        connection.execute("UPDATE batch SET status = ?, batch = ? WHERE id = ?", values)
    return changed


# --- lines -----------------------------------------------------------------------------------------------------------


def add_line(connection: sqlite3.Connection, id: str, number: int, *, good: bool, entry: bytes) -> None:
    """Counted once, whoever says it twice."""
    row = (id, number, good, entry)
    if connection.execute("INSERT OR IGNORE INTO line VALUES (?, ?, ?, ?)", row).rowcount:
        sql = "UPDATE batch SET completed = completed + ?, failed = failed + ?, bytes = bytes + ? WHERE id = ?"
        connection.execute(sql, (int(good), int(not good), len(entry), id))


def numbers(connection: sqlite3.Connection, id: str) -> list[int]:
    return [row[0] for row in connection.execute("SELECT number FROM line WHERE batch = ?", (id,)).fetchall()]


def entries(connection: sqlite3.Connection, id: str, after: int, limit: int) -> list[tuple[int, bool, bytes]]:
    """Those behind `after`, until they have `limit` bytes."""
    sql, found = "SELECT number, good, entry FROM line WHERE batch = ? AND number > ? ORDER BY number", []
    for number, good, entry in connection.execute(sql, (id, after)):
        found.append((number, bool(good), entry))
        limit -= len(entry)
        if limit <= 0:
            break
    return found


def conclude(
    connection: sqlite3.Connection, id: str, written: Sequence[File], to: Callable[[Batch], Batch | None]
) -> Batch | None:
    """The lines are in the files that were written: with these it ends."""
    changed = change(connection, id, to)
    if changed is not None:
        for file in written:
            put_file(connection, file)
        connection.execute("DELETE FROM line WHERE batch = ?", (id,))
        counts = (changed.completed, changed.failed, id)
        connection.execute("UPDATE batch SET completed = ?, failed = ?, bytes = 0 WHERE id = ?", counts)
    return changed


# --- what is too old -------------------------------------------------------------------------------------------------


def sweep(connection: sqlite3.Connection, wall: float, kept_s: float) -> set[str]:
    """Takes away files that have expired and batches that ended `kept_s` ago; returns the names of files that stay."""
    connection.execute("BEGIN IMMEDIATE")
    in_use = f"SELECT input FROM batch WHERE {UNENDED}"  # noqa: S608  # our own words only
    connection.execute(f"DELETE FROM file WHERE until <= ? AND id NOT IN ({in_use})", (wall,))  # noqa: S608
    rows = connection.execute(f"{BATCH} WHERE NOT ({UNENDED})").fetchall()
    old = [batch.id for row in rows if ((batch := _batch(row)).ended_at or 0) + kept_s <= wall]
    connection.executemany("DELETE FROM batch WHERE id = ?", [(id,) for id in old])
    return {row[0] for row in connection.execute("SELECT id FROM file").fetchall()}


def _page(
    connection: sqlite3.Connection, select: str, page: Page, given: dict[str, str | float | None]
) -> list[tuple[bytes, int, int]]:
    order, beyond = ("DESC", "<") if page.newest_first else ("ASC", ">")
    after = "" if page.after is None else f"AND id {beyond} :after "
    given |= {"after": page.after, "limit": page.limit + 1}
    return connection.execute(f"{select}{after}ORDER BY id {order} LIMIT :limit", given).fetchall()


def _batch(row: tuple[bytes, int, int]) -> Batch:
    found = _BATCH.decode(row[0])
    return structs.replace(found, completed=row[1], failed=row[2])
