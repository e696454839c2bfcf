"""The two tables of the replies on the disk, and what SQLite is told of them. When, and by whom, is `cabinet`'s word.

`reply` is the second level of the exact cache; `replay` is the journal of calls that must not be billed twice, in which
a call stands from before it is sent (`pending`) until its reply is whole (`done`). A row that is pending counts for
nothing once its process is gone or its deadline has passed. SQLite checks the types of no column and the sums of no
page, so a row is believed only where it has the types that were written, and a reply by its own sum (`kept`).
What is deleted is overwritten, and is out of the file too once the write-ahead log has been emptied.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from msgspec import Struct

from proxy.caching.kept import Kept, packed, unpacked
from proxy.caching.process import lives

Table = Literal["reply", "replay"]
TABLES: tuple[Table, ...] = ("reply", "replay")
WAIT_S = 0.8  # for another process's transaction; below the patience of whoever waits for the answer
TRIMMED_SHARE = 0.9  # of the room, after a file that was too large was trimmed
SOUND = f"typeof(until) = 'real' AND typeof(size) = 'integer' AND size BETWEEN 0 AND {2**30}"
EXPIRED = f"DELETE FROM {{}} WHERE until <= ? OR NOT ({SOUND})"  # noqa: S608  # our own words only
SIZE = "SELECT coalesce(sum(size), 0) FROM {}"
NEXT = "SELECT key, size FROM {} WHERE size > 0 ORDER BY until"
TAKE = "DELETE FROM {} WHERE key = ?"
BEGUN = "SELECT digest, state, owner, kept FROM replay WHERE key = ? AND typeof(until) = 'real' AND until > ?"
STANDING = f"SELECT count(*), coalesce(sum(size), 0) FROM {{}} WHERE {SOUND} AND size > 0 AND until > ?"  # noqa: S608
SCHEMA = """
CREATE TABLE IF NOT EXISTS reply (key BLOB PRIMARY KEY, agent TEXT, route TEXT, until REAL, size INTEGER, kept BLOB);
CREATE TABLE IF NOT EXISTS replay (key BLOB PRIMARY KEY, agent TEXT, route TEXT, until REAL, size INTEGER, kept BLOB,
  digest BLOB, state TEXT, owner TEXT);
CREATE INDEX IF NOT EXISTS reply_until ON reply (until);
CREATE INDEX IF NOT EXISTS replay_until ON replay (until);
"""


class Entered(Struct, frozen=True):
    """What the journal says of a call that wants to begin."""

    state: Literal["begun", "done", "elsewhere", "other"]  # `other`: the name stands for another question
    kept: Kept | None = None  # if it is done


class Begun(NamedTuple):
    digest: bytes
    until_wall: float
    owner: str


class Standing(Struct, frozen=True):
    """One table, without what has expired."""

    entries: int = 0
    size: int = 0  # bytes


def connect(path: Path | None) -> sqlite3.Connection:
    """Raises sqlite3.Error and OSError."""
    if path is not None:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
    connection = sqlite3.connect(path or ":memory:", timeout=WAIT_S, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA secure_delete=ON")
    connection.executescript(SCHEMA)
    return connection


def busy(error: BaseException) -> bool:
    """Whether another process held the file for too long."""
    code = getattr(error, "sqlite_errorcode", 0)  # Python's own errors of that class have none
    return isinstance(error, sqlite3.Error) and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def find(connection: sqlite3.Connection, key: bytes) -> Kept | None:
    row = connection.execute("SELECT kept FROM reply WHERE key = ?", (key,)).fetchone()
    return None if row is None else unpacked(row[0], key)


def put(connection: sqlite3.Connection, key: bytes, kept: Kept, until_wall: float) -> None:
    row = (key, kept.agent, kept.route, until_wall, kept.size, packed(kept, key))
    connection.execute("INSERT OR REPLACE INTO reply VALUES (?, ?, ?, ?, ?, ?)", row)


def enter(connection: sqlite3.Connection, key: bytes, begun: Begun, wall: float) -> Entered:
    digest, until_wall, us = begun
    connection.execute("BEGIN IMMEDIATE")
    row = connection.execute(BEGUN, (key, wall)).fetchone()
    if row is not None:
        known, state, owner, kept = row
        if state == "done" and isinstance(known, bytes) and (found := unpacked(kept, key + known)) is not None:
            return Entered("done", found) if known == digest else Entered("other")
        if state != "done" and owner != us and isinstance(owner, str) and lives(owner):
            return Entered("elsewhere") if known == digest else Entered("other")
    fresh = (key, "", "", until_wall, 0, b"", digest, "pending", us)
    connection.execute("INSERT OR REPLACE INTO replay VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", fresh)
    return Entered("begun")


def done(connection: sqlite3.Connection, key: bytes, kept: Kept, begun: Begun) -> None:
    """`begun` says how long it may be given again."""
    digest, until_wall, us = begun
    row = (key, kept.agent, kept.route, until_wall, kept.size, packed(kept, key + digest), digest, "done", us)
    connection.execute("INSERT OR REPLACE INTO replay VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def purge(connection: sqlite3.Connection, agent: str | None, route: str | None, key: bytes | None) -> int:
    asked = {"agent": agent, "route": route, "key": key}
    given = {name: value for name, value in asked.items() if value is not None}
    where = " AND ".join(f"{name} = :{name}" for name in given) or "1"
    sql = f"DELETE FROM {{}} WHERE size > 0 AND {where}"  # noqa: S608  # our own names only
    gone = sum([connection.execute(sql.format(table), given).rowcount for table in TABLES])
    empty_log(connection)
    return gone


def standing(connection: sqlite3.Connection, wall: float) -> dict[Table, Standing]:
    return {table: Standing(*connection.execute(STANDING.format(table), (wall,)).fetchone()) for table in TABLES}


def trim(connection: sqlite3.Connection, table: Table, room: int, wall: float) -> None:
    """First what has expired, then what would expire first."""
    connection.execute(EXPIRED.format(table), (wall,))
    (size,) = connection.execute(SIZE.format(table)).fetchone()
    if size <= room:
        return
    for key, part in connection.execute(NEXT.format(table)).fetchall():
        connection.execute(TAKE.format(table), (key,))
        size -= part
        if size <= room * TRIMMED_SHARE:
            return


def empty_log(connection: sqlite3.Connection) -> None:
    """Writes down what was asked until now; the log is cut to nothing unless another process reads it just then."""
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
