"""The replies that are kept on the disk: one SQLite file for all processes of a gate, read and written by one thread each.

Two tables. `reply` is the second level of the exact cache; `replay` is the journal of calls that must not be billed twice,
in which a call stands from before it is sent (`pending`) until its reply is whole (`done`). A reply is on the disk before
the last of it goes out; WAL with `synchronous=NORMAL`, so a killed process loses nothing, and a power cut the last second
at most: then a replay is a new call. Who died while a call was pending leaves a row that counts for nothing once its
process is gone or its deadline has passed. Prompts are not in here. Without a path all of it is in memory.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeVar

from msgspec import Struct

from proxy.caching.kept import Kept, packed, unpacked

T = TypeVar("T")
Table = Literal["reply", "replay"]
TABLES: tuple[Table, ...] = ("reply", "replay")
WAIT_S = 2.0  # for another process's transaction
TRIMMED_SHARE = 0.9  # of the room, after a file that was too large was trimmed
LOOK_SHARE = 1 / 32  # of the room: after so much was written, it is looked at
SCHEMA = """
CREATE TABLE IF NOT EXISTS reply (key BLOB PRIMARY KEY, agent TEXT, route TEXT, until REAL, size INTEGER, kept BLOB);
CREATE TABLE IF NOT EXISTS replay (key BLOB PRIMARY KEY, agent TEXT, route TEXT, until REAL, size INTEGER, kept BLOB,
  digest BLOB, state TEXT, owner INTEGER);
CREATE INDEX IF NOT EXISTS reply_until ON reply (until);
CREATE INDEX IF NOT EXISTS replay_until ON replay (until);
"""


class Entered(Struct, frozen=True):
    """What the journal says of a call that wants to begin."""

    state: Literal["begun", "done", "elsewhere", "other"]  # `other`: the name stands for another question
    kept: Kept | None = None  # if it is done


class Standing(Struct, frozen=True):
    """One table."""

    entries: int = 0
    size: int = 0  # bytes


class Cabinet:
    """Every method returns at once or is awaited; the work is done by its thread, in the order in which it was asked."""

    def __init__(self, path: Path | None, report: Callable[[str], None]) -> None:
        """`report` is told when the file failed: then nothing is found and nothing kept, and calls go on."""
        self._path = path
        self._report = report
        self._thread = ThreadPoolExecutor(1, "caches")
        self._connection: sqlite3.Connection | None = None
        self._written: dict[Table, int] = dict.fromkeys(TABLES, 0)
        self.room: dict[Table, int] = dict.fromkeys(TABLES, 0)  # bytes
        self.failed = 0

    def __repr__(self) -> str:
        return f"Cabinet({self._path}, failed={self.failed})"

    # --- the second level of the exact cache -------------------------------------------------------------------------

    async def find(self, key: bytes) -> Kept | None:
        return await self._ask(lambda connection: _found(connection, key), None)

    def put(self, key: bytes, kept: Kept, until_wall: float) -> None:
        """Does not wait."""
        self._tell(lambda connection: self._put(connection, key, kept, until_wall))

    # --- the journal -------------------------------------------------------------------------------------------------

    async def enter(self, key: bytes, digest: bytes, wall: float, *, until_wall: float) -> Entered:
        """A call begins. Until `until_wall` nobody else begins it."""
        return await self._ask(lambda connection: _enter(connection, key, digest, wall, until_wall), Entered("begun"))

    def streaming(self, key: bytes) -> None:
        """Its client has the first of its reply."""
        self._tell(lambda connection: connection.execute("UPDATE replay SET state = 'streaming' WHERE key = ?", (key,)))

    async def done(self, key: bytes, digest: bytes, kept: Kept, until_wall: float) -> bool:
        """Returns once its reply is on the disk; False: it is not, and the call is as if it had never been."""
        return await self._ask(lambda connection: self._done(connection, key, digest, kept, until_wall), False)

    def withdraw(self, key: bytes) -> None:
        """It ended without a reply that could be given again."""
        sql = "DELETE FROM replay WHERE key = ? AND state != 'done'"
        self._tell(lambda connection: connection.execute(sql, (key,)))

    # --- both --------------------------------------------------------------------------------------------------------

    async def purge(self, agent: str | None, route: str | None, key: bytes | None) -> int:
        return await self._ask(lambda connection: _purge(connection, agent, route, key), 0)

    async def standing(self) -> dict[Table, Standing]:
        return await self._ask(_standing, {})

    async def close(self) -> None:
        """Writes what waits. Whoever asks later finds it open again."""
        if self._connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._close)

    async def _ask(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._within, work)
        except (sqlite3.Error, OSError) as error:
            self._fail(error)
            return otherwise

    def _tell(self, work: Callable[[sqlite3.Connection], object]) -> None:
        told = asyncio.get_running_loop().run_in_executor(self._thread, self._within, work)
        told.add_done_callback(self._told)

    def _told(self, told: asyncio.Future[object]) -> None:
        if not told.cancelled() and (error := told.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self.failed += 1
        self._report(f"{type(error).__name__}: {error}")

    # --- in its thread -----------------------------------------------------------------------------------------------

    def _within(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = _opened(self._path)
        with self._connection:
            return work(self._connection)

    def _put(self, connection: sqlite3.Connection, key: bytes, kept: Kept, until_wall: float) -> None:
        row = (key, kept.agent, kept.route, until_wall, kept.size, packed(kept))
        connection.execute("INSERT OR REPLACE INTO reply VALUES (?, ?, ?, ?, ?, ?)", row)
        self._bound(connection, "reply", kept)

    def _done(
        self, connection: sqlite3.Connection, key: bytes, digest: bytes, kept: Kept, until_wall: float
    ) -> bool:
        row = (key, kept.agent, kept.route, until_wall, kept.size, packed(kept), digest, "done", os.getpid())
        connection.execute("INSERT OR REPLACE INTO replay VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        self._bound(connection, "replay", kept)
        return True

    def _bound(self, connection: sqlite3.Connection, table: Table, kept: Kept) -> None:
        self._written[table] += kept.size
        if self._written[table] > self.room[table] * LOOK_SHARE:
            self._written[table] = 0
            _trim(connection, table, self.room[table], kept.stored_wall)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _opened(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
    connection = sqlite3.connect(path or ":memory:", timeout=WAIT_S, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.executescript(SCHEMA)
    return connection


def _found(connection: sqlite3.Connection, key: bytes) -> Kept | None:
    row = connection.execute("SELECT kept FROM reply WHERE key = ?", (key,)).fetchone()
    return None if row is None else unpacked(row[0])


def _enter(connection: sqlite3.Connection, key: bytes, digest: bytes, wall: float, until_wall: float) -> Entered:
    connection.execute("BEGIN IMMEDIATE")
    row = connection.execute("SELECT digest, state, owner, until, kept FROM replay WHERE key = ?", (key,)).fetchone()
    if row is not None and row[3] > wall:
        known, state, owner, _, kept = row
        if state == "done" and (found := unpacked(kept)) is not None:
            return Entered("done", found) if known == digest else Entered("other")
        if state != "done" and owner != os.getpid() and _lives(owner):
            return Entered("elsewhere") if known == digest else Entered("other")
    fresh = (key, "", "", until_wall, 0, b"", digest, "pending", os.getpid())
    connection.execute("INSERT OR REPLACE INTO replay VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", fresh)
    return Entered("begun")


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _purge(connection: sqlite3.Connection, agent: str | None, route: str | None, key: bytes | None) -> int:
    asked = {"agent": agent, "route": route, "key": key}
    given = {name: value for name, value in asked.items() if value is not None}
    where = " AND ".join(f"{name} = :{name}" for name in given) or "1"
    counts = [connection.execute(f"DELETE FROM {table} WHERE size > 0 AND {where}", given).rowcount for table in TABLES]
    return sum(counts)


def _standing(connection: sqlite3.Connection) -> dict[Table, Standing]:
    sums = "SELECT count(*), coalesce(sum(size), 0) FROM {} WHERE size > 0"
    return {table: Standing(*connection.execute(sums.format(table)).fetchone()) for table in TABLES}


def _trim(connection: sqlite3.Connection, table: Table, room: int, wall: float) -> None:
    """First what has expired, then what would expire first."""
    connection.execute(f"DELETE FROM {table} WHERE until < ?", (wall,))
    (size,) = connection.execute(f"SELECT coalesce(sum(size), 0) FROM {table}").fetchone()
    if size <= room:
        return
    for key, part in connection.execute(f"SELECT key, size FROM {table} WHERE size > 0 ORDER BY until").fetchall():
        connection.execute(f"DELETE FROM {table} WHERE key = ?", (key,))
        size -= part
        if size <= room * TRIMMED_SHARE:
            return
