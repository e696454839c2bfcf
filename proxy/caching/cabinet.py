"""The replies that are kept on the disk: one SQLite file for all processes of a gate, and in each one thread for it.

Two tables. `reply` is the second level of the exact cache; `replay` is the journal of calls that must not be billed
twice, in which a call stands from before it is sent (`pending`) until its reply is whole (`done`). A reply is on the
disk before the last of it goes out; WAL with `synchronous=NORMAL`, so a killed process loses nothing, and a power cut
what came since the last checkpoint: then a replay is a new call. A row that is pending counts for nothing once its
process is gone or its deadline has passed. Nobody waits long for a disk that hangs, and no heap of replies grows before
it. Prompts are not in here. Without a path all of it is in memory.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from msgspec import Struct

from proxy.alarm import Alarm
from proxy.caching.kept import Kept, packed, unpacked
from proxy.caching.process import lives, process

T = TypeVar("T")
Table = Literal["reply", "replay"]
TABLES: tuple[Table, ...] = ("reply", "replay")
WAIT_S = 2.0  # for another process's transaction
PATIENCE_S = 5.0  # of a call, with the disk
WAITING_MAX = 64 * 1024 * 1024  # bytes of replies that are to be written
TRIMMED_SHARE = 0.9  # of the room, after a file that was too large was trimmed
LOOK_SHARE = 1 / 32  # of the room: after so much was written, it is looked at
EXPIRED = "DELETE FROM {} WHERE until < ?"
SIZE = "SELECT coalesce(sum(size), 0) FROM {}"
NEXT = "SELECT key, size FROM {} WHERE size > 0 ORDER BY until"
TAKE = "DELETE FROM {} WHERE key = ?"
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
    """One table."""

    entries: int = 0
    size: int = 0  # bytes


class Cabinet:
    """Every method returns at once or is awaited; its thread does the work, in the order in which it was asked."""

    def __init__(self, path: Path | None, report: Callable[[str], None]) -> None:
        """`report` is told when the file failed: then nothing is found and nothing kept, and calls go on."""
        self._path = path
        self._report = report
        self._thread = ThreadPoolExecutor(1, "caches")
        self._connection: sqlite3.Connection | None = None
        self._asked = False
        self._failing = False
        self._stuck = False  # the disk was asked something, and has not answered since
        self._waiting = 0  # bytes that are to be written
        self._self = process(os.getpid())
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
        if self._room_for(kept):
            told = self._tell(lambda connection: self._put(connection, key, kept, until_wall))
            told.add_done_callback(lambda _: self._written_down(kept))

    # --- the journal -------------------------------------------------------------------------------------------------

    async def enter(self, key: bytes, digest: bytes, wall: float, *, until_wall: float) -> Entered:
        """A call begins. Until `until_wall` nobody else begins it."""
        begun = Begun(digest, until_wall, self._self)
        return await self._ask(lambda connection: _enter(connection, key, begun, wall), Entered("begun"))

    def streaming(self, key: bytes) -> None:
        """Its client has the first of its reply."""
        self._tell(lambda connection: connection.execute("UPDATE replay SET state = 'streaming' WHERE key = ?", (key,)))

    async def done(self, key: bytes, digest: bytes, kept: Kept, until_wall: float) -> bool:
        """Returns once its reply is on the disk, which happens whoever leaves meanwhile; False: it is not, and the call
        is as if it had never been."""
        if self._stuck or not self._room_for(kept):
            return False
        told = self._tell(lambda connection: self._done(connection, key, digest, kept, until_wall))
        told.add_done_callback(lambda _: self._written_down(kept))
        with suppress(TimeoutError), Alarm(asyncio.get_running_loop().time() + PATIENCE_S):
            await asyncio.wait([told])
        if not told.done():
            self._stuck = True
            self._fail(TimeoutError())
        return told.done() and not told.cancelled() and told.exception() is None

    def withdraw(self, key: bytes) -> None:
        """It ended without a reply that could be given again."""
        sql = "DELETE FROM replay WHERE key = ? AND state != 'done' AND owner = ?"
        self._tell(lambda connection: connection.execute(sql, (key, self._self)))

    # --- both --------------------------------------------------------------------------------------------------------

    async def purge(self, agent: str | None, route: str | None, key: bytes | None) -> int:
        return await self._ask(lambda connection: _purge(connection, agent, route, key), 0)

    async def standing(self) -> dict[Table, Standing]:
        return await self._ask(_standing, {})

    async def close(self) -> None:
        """Writes what waits. Whoever asks later finds it open again."""
        if self._asked:
            loop = asyncio.get_running_loop()
            with suppress(TimeoutError), Alarm(loop.time() + PATIENCE_S):
                await loop.run_in_executor(self._thread, self._close)

    @property
    def bytes_on_disk(self) -> int:
        """The file and its write-ahead log; may be asked for on any thread."""
        if self._path is None:
            return 0
        return sum(_size(self._path.with_name(self._path.name + suffix)) for suffix in ("", "-wal"))

    async def _ask(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        if self._stuck:  # one call has waited for all of them
            return otherwise
        self._asked, loop = True, asyncio.get_running_loop()
        try:
            with Alarm(loop.time() + PATIENCE_S):
                found = await loop.run_in_executor(self._thread, self._within, work)
        except (sqlite3.Error, OSError) as error:
            self._stuck = isinstance(error, TimeoutError)
            self._fail(error)
            return otherwise
        self._failing = False
        return found

    def _tell(self, work: Callable[[sqlite3.Connection], object]) -> asyncio.Future[object]:
        self._asked = True
        told = asyncio.get_running_loop().run_in_executor(self._thread, self._within, work)
        told.add_done_callback(self._told)
        return told

    def _told(self, told: asyncio.Future[object]) -> None:
        if told.cancelled():
            return
        error = told.exception()
        if error is None:
            self._failing = False
        else:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Told once until it works again: each call would say the same."""
        self.failed += 1
        if not self._failing:
            self._failing = True
            self._report(f"{type(error).__name__}: {error}")

    def _room_for(self, kept: Kept) -> bool:
        if self._waiting + kept.size > WAITING_MAX:
            self._fail(OSError("the disk is too slow for the replies that are to be kept"))
            return False
        self._waiting += kept.size
        return True

    def _written_down(self, kept: Kept) -> None:
        self._waiting -= kept.size

    # --- in its thread -----------------------------------------------------------------------------------------------

    def _within(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = _opened(self._path)
            with self._connection:
                return work(self._connection)
        finally:
            self._stuck = False

    def _put(self, connection: sqlite3.Connection, key: bytes, kept: Kept, until_wall: float) -> None:
        row = (key, kept.agent, kept.route, until_wall, kept.size, packed(kept))
        connection.execute("INSERT OR REPLACE INTO reply VALUES (?, ?, ?, ?, ?, ?)", row)
        self._bound(connection, "reply", kept)

    def _done(self, connection: sqlite3.Connection, key: bytes, digest: bytes, kept: Kept, until_wall: float) -> bool:
        row = (key, kept.agent, kept.route, until_wall, kept.size, packed(kept), digest, "done", self._self)
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


def _enter(connection: sqlite3.Connection, key: bytes, begun: Begun, wall: float) -> Entered:
    digest, until_wall, us = begun
    connection.execute("BEGIN IMMEDIATE")
    row = connection.execute("SELECT digest, state, owner, until, kept FROM replay WHERE key = ?", (key,)).fetchone()
    if row is not None and row[3] > wall:
        known, state, owner, _, kept = row
        if state == "done" and (found := unpacked(kept)) is not None:
            return Entered("done", found) if known == digest else Entered("other")
        if state != "done" and owner != us and lives(owner):
            return Entered("elsewhere") if known == digest else Entered("other")
    fresh = (key, "", "", until_wall, 0, b"", digest, "pending", us)
    connection.execute("INSERT OR REPLACE INTO replay VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", fresh)
    return Entered("begun")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _purge(connection: sqlite3.Connection, agent: str | None, route: str | None, key: bytes | None) -> int:
    asked = {"agent": agent, "route": route, "key": key}
    given = {name: value for name, value in asked.items() if value is not None}
    where = " AND ".join(f"{name} = :{name}" for name in given) or "1"
    sql = f"DELETE FROM {{}} WHERE size > 0 AND {where}"  # noqa: S608  # our own names only
    return sum([connection.execute(sql.format(table), given).rowcount for table in TABLES])


def _standing(connection: sqlite3.Connection) -> dict[Table, Standing]:
    sums = "SELECT count(*), coalesce(sum(size), 0) FROM {} WHERE size > 0"
    return {table: Standing(*connection.execute(sums.format(table)).fetchone()) for table in TABLES}


def _trim(connection: sqlite3.Connection, table: Table, room: int, wall: float) -> None:
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
