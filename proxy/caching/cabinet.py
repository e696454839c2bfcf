"""The replies that are kept on the disk: one SQLite file for all processes of a gate, and in each one thread for it.

A reply is on the disk before the last of it goes out; WAL with `synchronous=NORMAL`, so a killed process loses nothing,
and a power cut what came since the last checkpoint: then a replay is a new call. Nobody waits long for a disk that
hangs or for a file that another process holds: once one call has found out, the others go on without it until a write
that nobody waits for has succeeded. No heap of replies grows before it. Its size is looked at when it is opened, each
hour and after so many bytes. Prompts are not in here. Without a path all of it is in memory.
"""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from proxy.alarm import Alarm
from proxy.caching import tables
from proxy.caching.kept import Kept
from proxy.caching.process import process
from proxy.caching.tables import TABLES, Begun, Entered, Standing, Table

T = TypeVar("T")
PATIENCE_S = 1.0  # of a call, with the disk
SILENCE_S = PATIENCE_S / 2  # without any answer: then it counts as stuck. Calls with short deadlines do not decide that
OPERATOR_S = 5.0  # patience of whoever deletes, or closes
WAITING_MAX = 64 * 1024 * 1024  # bytes of replies that are to be written
LOOK_SHARE = 1 / 32  # of the room: after so much was written, it is looked at
LOOK_S = 3_600.0  # and at the latest after so long


class Cabinet:
    """Every method returns at once or is awaited; its thread does the work, in the order in which it was asked."""

    def __init__(self, path: Path | None, report: Callable[[str], None], wall: Callable[[], float]) -> None:
        """`report` is told when the file failed: then nothing is found and nothing kept, and calls go on. `wall` tells
        the seconds since 1970, in any thread."""
        self._path = path
        self._wall = wall
        self._report = report
        self._thread = ThreadPoolExecutor(1, "caches")
        self._connection: sqlite3.Connection | None = None
        self._asked = False
        self._failing = False
        self._stuck = False  # it was asked something and has not answered, or another process holds it
        self._trying = False  # whether it still is
        self._silent_since = math.inf  # the loop's time: when a call asked that waited in vain, and nothing came since
        self._look_at = -math.inf  # the loop's time
        self._waiting = 0  # bytes that are to be written
        self._self = process(os.getpid())
        self._written: dict[Table, int] = dict.fromkeys(TABLES, 0)
        self.room: dict[Table, int] = dict.fromkeys(TABLES, 0)  # bytes
        self.failed = 0

    def __repr__(self) -> str:
        return f"Cabinet({self._path}, failed={self.failed})"

    # --- the second level of the exact cache -------------------------------------------------------------------------

    async def find(self, key: bytes, *, by: float = math.inf) -> Kept | None:
        """Here and below, `by` is the deadline of the call that waits, in the loop's time: at most half of what is left
        until then is waited, so that there is time to answer the call without the disk."""
        return await self._ask(lambda connection: tables.find(connection, key), None, by)

    def put(self, key: bytes, kept: Kept, until_wall: float) -> None:
        """Does not wait."""
        if self._room_for(kept):
            told = self._tell(lambda connection: self._put(connection, key, kept, until_wall))
            told.add_done_callback(lambda _: self._written_down(kept))

    # --- the journal -------------------------------------------------------------------------------------------------

    async def enter(
        self, key: bytes, digest: bytes, wall: float, *, until_wall: float, by: float = math.inf
    ) -> Entered:
        """A call begins. Until `until_wall` nobody else begins it."""
        begun = Begun(digest, until_wall, self._self)
        return await self._ask(lambda connection: tables.enter(connection, key, begun, wall), Entered("begun"), by)

    def streaming(self, key: bytes) -> None:
        """Its client has the first of its reply."""
        self._tell(lambda connection: connection.execute("UPDATE replay SET state = 'streaming' WHERE key = ?", (key,)))

    async def done(self, key: bytes, digest: bytes, kept: Kept, until_wall: float, *, by: float = math.inf) -> bool:
        """Returns once its reply is on the disk, which happens whoever leaves meanwhile; False: it is not, and the call
        is as if it had never been."""
        if self._passed_by() or not self._room_for(kept):
            return False
        begun, asked = Begun(digest, until_wall, self._self), asyncio.get_running_loop().time()
        told = self._tell(lambda connection: self._done(connection, key, kept, begun))
        told.add_done_callback(lambda _: self._written_down(kept))
        with suppress(TimeoutError), Alarm(asked + _patience_s(asked, by)):
            await asyncio.wait([told])
        if not told.done():
            self._silent(asked)
        return told.done() and not told.cancelled() and told.exception() is None

    def withdraw(self, key: bytes) -> None:
        """It ended without a reply that could be given again."""
        sql = "DELETE FROM replay WHERE key = ? AND state != 'done' AND owner = ?"
        self._tell(lambda connection: connection.execute(sql, (key, self._self)))

    # --- both --------------------------------------------------------------------------------------------------------

    async def purge(self, agent: str | None, route: str | None, key: bytes | None) -> int:
        """Their text is gone from the file, too."""
        return await self._answer(lambda connection: tables.purge(connection, agent, route, key), 0, OPERATOR_S)

    async def standing(self) -> dict[Table, Standing]:
        return await self._ask(lambda connection: tables.standing(connection, self._wall()), {}, math.inf)

    async def close(self) -> None:
        """Writes what waits. Whoever asks later finds it open again."""
        if self._asked:
            loop = asyncio.get_running_loop()
            self._look_at = -math.inf
            with suppress(TimeoutError), Alarm(loop.time() + OPERATOR_S):
                await loop.run_in_executor(self._thread, self._close)

    @property
    def bytes_on_disk(self) -> int:
        """The file and its write-ahead log; may be asked for on any thread."""
        if self._path is None:
            return 0
        return sum(_size(self._path.with_name(self._path.name + suffix)) for suffix in ("", "-wal"))

    async def _ask(self, work: Callable[[sqlite3.Connection], T], otherwise: T, by: float) -> T:
        if self._passed_by():
            return otherwise
        return await self._answer(work, otherwise, _patience_s(asyncio.get_running_loop().time(), by))

    async def _answer(self, work: Callable[[sqlite3.Connection], T], otherwise: T, wait_s: float) -> T:
        asked = asyncio.get_running_loop().time()
        try:
            with Alarm(asked + wait_s):
                found = await self._send(work)
        except TimeoutError:
            self._silent(asked)
            return otherwise
        except (sqlite3.Error, OSError) as error:
            self._fail(error)
            return otherwise
        self._failing, self._silent_since = False, math.inf
        return found

    def _tell(self, work: Callable[[sqlite3.Connection], object]) -> asyncio.Future[object]:
        told = self._send(work)
        told.add_done_callback(self._told)
        return told

    def _send(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        sent, self._asked = loop.run_in_executor(self._thread, self._within, work), True
        if loop.time() >= self._look_at:  # after what was asked, which need not wait for it
            self._look_at = loop.time() + LOOK_S
            self._tell(self._look)
        return sent

    def _passed_by(self) -> bool:
        """Whether the disk is stuck. Then it is tried by a write that nobody waits for."""
        if self._stuck and not self._trying:
            self._trying = True
            tried = self._tell(lambda connection: connection.execute("BEGIN IMMEDIATE"))
            tried.add_done_callback(self._tried)
        return self._stuck

    def _tried(self, _: object) -> None:
        self._trying = False

    def _silent(self, asked: float) -> None:
        """One that had asked then has waited in vain."""
        self._silent_since = min(self._silent_since, asked)
        if asyncio.get_running_loop().time() - self._silent_since >= SILENCE_S:
            self._stuck = True
            self._fail(TimeoutError())

    def _told(self, told: asyncio.Future[object]) -> None:
        if told.cancelled():
            return
        error = told.exception()
        if error is None:
            self._failing = self._stuck = False
            self._silent_since = math.inf
        else:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Told once until it works again: each call would say the same."""
        self.failed += 1
        self._stuck = self._stuck or tables.busy(error)
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
        if self._connection is None:
            self._connection = tables.connect(self._path)
        with self._connection:
            return work(self._connection)

    def _put(self, connection: sqlite3.Connection, key: bytes, kept: Kept, until_wall: float) -> None:
        tables.put(connection, key, kept, until_wall)
        self._bound(connection, "reply", kept)

    def _done(self, connection: sqlite3.Connection, key: bytes, kept: Kept, begun: Begun) -> None:
        tables.done(connection, key, kept, begun)
        self._bound(connection, "replay", kept)

    def _bound(self, connection: sqlite3.Connection, table: Table, kept: Kept) -> None:
        self._written[table] += kept.size
        if self._written[table] > self.room[table] * LOOK_SHARE:
            self._written[table] = 0
            tables.trim(connection, table, self.room[table], self._wall())

    def _look(self, connection: sqlite3.Connection) -> None:
        """What is too much or too old, whoever has written it."""
        for table in TABLES:
            tables.trim(connection, table, self.room[table], self._wall())
        tables.empty_log(connection)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _patience_s(now: float, by: float) -> float:
    return min(PATIENCE_S, (by - now) / 2)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
