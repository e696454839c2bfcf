"""The writer of the ledger: one thread, one connection, one file that nobody else may open.

Outcomes are appended from the event loop without waiting and committed in groups with a sync each (WAL,
`synchronous=FULL`), so what a flush has acknowledged survives a power loss. Settlements are never refused: when too
much waits, or a write has failed, `accepting` turns false and new *calls* must be refused instead. A sync that failed
is never tried again, because the pages it was for may be gone from the cache (Rebello et al., "Can applications
recover from fsync failures?", 2020): the process has to restart. Reads run on the same connection between groups.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from proxy.errors import ProxyError
from proxy.state.ledger_rows import SCHEMA, SCHEMA_VERSION, insert
from proxy.types import Outcome

GROUP_S = 0.05  # an outcome waits at most this long for company
GROUP_ROWS = 500  # ... or until this many rows wait
ROWS_WAITING_MAX = 20_000
READS_WAITING_MAX = 64
READ_STEPS = 50_000  # of SQLite's machine, a millisecond or two, between two looks at what waits behind a read

T = TypeVar("T")


class Ledger:
    """`append`, `query`, `flush` and `close` belong to the event loop, `step` to the writer.

    In production `start` gives the writer a thread. Without it (simulation, tests of one file) `query`, `flush` and
    `close` do the writer's steps themselves, so that nothing happens outside the loop's virtual time.
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, report: Callable[[str], None], *, seq: int = 0
    ) -> None:
        self.written = 0  # rows committed
        self.commits = 0
        self.failed = 0  # groups that could not be committed
        self.posted_usd_nanos = 0  # committed since the start, over the attempts that had a price
        self._path = path
        self._inode = path.stat().st_ino
        self._connection = connection
        self._report = report
        self._appended = 0  # rows; only the loop writes it, only the writer writes `written`
        self._queue: deque[Outcome] = deque()
        self._group: list[Outcome] = []  # taken from the queue, not yet committed
        self._reads: deque[tuple[int, Callable[[sqlite3.Connection], None]]] = deque()  # due at how many rows, what
        self._seq = seq  # of the last call in the file
        self._wake = threading.Event()  # something waits
        self._hurry = threading.Event()  # ... that should not wait for company
        self._closing = False
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"Ledger({str(self._path)!r}, written={self.written}, waiting={self.waiting}, failed={self.failed})"

    @classmethod
    def open(cls, path: Path, report: Callable[[str], None] = lambda message: None) -> Ledger:
        """Raises ProxyError ledger_unavailable. `report` hears, on the writer's thread, why writing has stopped."""
        connection = _connect(path)
        try:
            return cls(path, connection, report, seq=_configure(connection, path))
        except (ProxyError, sqlite3.Error) as error:
            connection.close()
            raise _refusal(error, path) from error

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    # --- the event loop's side

    @property
    def waiting(self) -> int:
        """Rows appended and not yet committed."""
        return self._appended - self.written

    @property
    def accepting(self) -> bool:
        return not self.failed and not self._closing and self._appended - self.written <= ROWS_WAITING_MAX

    def lag_s(self, now: float) -> float:
        """Age of the oldest call that has ended and is not yet committed."""
        try:
            oldest = (self._group or self._queue)[0]
        except IndexError:  # the writer took it in between
            return 0.0
        return max(0.0, now - oldest.call.arrived_at - oldest.duration_s)

    def append(self, outcome: Outcome) -> None:
        self._queue.append(outcome)
        self._appended += 1 + len(outcome.attempts)
        if not self._wake.is_set():
            self._wake.set()
        elif self._appended - self.written >= GROUP_ROWS and not self._hurry.is_set():
            self._hurry.set()

    async def query(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        """What `ask` reads from the file, everything appended so far included. It must not write."""
        if self._closing or len(self._reads) >= READS_WAITING_MAX:
            raise ProxyError("overloaded", "the ledger has no room for another question now: ask again later")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._reads.append((self._appended, partial(_answer, ask, loop, future)))
        self._step_soon()
        return await future

    async def flush(self) -> None:
        """Returns when everything appended so far is committed. Raises ProxyError when it cannot be."""
        mark = self._appended
        await self.query(_nothing)
        if self.written < mark:
            raise ProxyError("ledger_unavailable", "the ledger could not be written: restart the gate")

    def close(self) -> None:
        """Writes what waits, answers what was asked, lets go of the file. Blocks; nothing may be appended after."""
        self._closing = True
        self._step_soon()
        if self._thread is not None:
            self._thread.join()
        self._connection.close()

    def _step_soon(self) -> None:
        if self._thread is None:
            self._drain()
            return
        self._hurry.set()
        self._wake.set()

    # --- the writer's side

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait()
            self._hurry.wait(GROUP_S)
            self._wake.clear()  # before the queues are read, so that what comes later wakes us again
            self._hurry.clear()
            self._drain()
        self._drain()

    def _drain(self) -> None:
        while self.step():
            pass

    def step(self) -> int:
        """Commits one group, then answers the questions that have become due. Returns the rows written."""
        rows = 0 if self.failed else self._commit()
        while self._reads and (self.failed or self._reads[0][0] <= self.written):
            self._connection.set_progress_handler(self._behind, READ_STEPS)
            self._reads.popleft()[1](self._connection)
            self._connection.set_progress_handler(None, 0)
        return rows

    def _behind(self) -> bool:
        """True ends the read that is running: settlements come first."""
        return self.waiting > ROWS_WAITING_MAX // 2

    def _commit(self) -> int:
        rows = self._take()
        if not rows:
            return 0
        try:
            self._check_file()
            self._connection.execute("BEGIN IMMEDIATE")
            insert(self._connection, self._seq + 1, self._group)
            self._connection.execute("COMMIT")
        except Exception as error:  # the disk's or our own: either way nothing more can be promised
            self._fail(error)
            return 0
        self._seq += len(self._group)
        self.posted_usd_nanos += sum(attempt.cost_usd_nanos or 0 for done in self._group for attempt in done.attempts)
        self._group.clear()
        self.commits += 1
        self.written += rows
        return rows

    def _take(self) -> int:
        rows = 0
        while self._queue and rows < GROUP_ROWS:
            self._group.append(self._queue.popleft())
            rows += 1 + len(self._group[-1].attempts)
        return rows

    def _check_file(self) -> None:
        """A file removed or replaced under us would take our rows and keep none of them."""
        if self._path.stat().st_ino != self._inode:
            raise OSError(f"{self._path} is no longer the file that was opened")

    def _fail(self, error: Exception) -> None:
        self.failed += 1
        with suppress(sqlite3.Error):
            self._connection.rollback()
        self._report(f"the ledger cannot be written, new calls are refused until the gate is restarted: {error!r}")


def _answer(
    ask: Callable[[sqlite3.Connection], T],
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[T],
    connection: sqlite3.Connection,
) -> None:
    try:
        settle = partial(_resolve, future, ask(connection))
    except Exception as error:  # it belongs to whoever asked, not to the writer
        settle = partial(_reject, future, _meaning(error))
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(settle)


def _resolve(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)


def _reject(future: asyncio.Future[T], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _meaning(error: Exception) -> Exception:
    if isinstance(error, sqlite3.OperationalError) and str(error) == "interrupted":
        return ProxyError("overloaded", "the question took too long while calls waited for the ledger: narrow it")
    return error


def _nothing(connection: sqlite3.Connection) -> None:
    """The question that only waits for its turn."""


def _connect(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # SQLite gives the files beside it the same rights
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
    except (OSError, sqlite3.Error) as error:
        raise _refusal(error, path) from error


def _configure(connection: sqlite3.Connection, path: Path) -> int:
    """Takes the file for this connection alone and makes sure it is a ledger. Returns the last call's `seq`."""
    (mode,) = connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchone()
    (journal,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if (mode, journal) != ("exclusive", "wal"):
        raise ProxyError("ledger_unavailable", f"{path.parent} gives no exclusive file lock: use a local disk")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA recursive_triggers = ON")  # so that REPLACE cannot delete past the triggers
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version > SCHEMA_VERSION:
        message = f"the ledger in {path.parent} is of version {version}, this gate knows {SCHEMA_VERSION}: upgrade it"
        raise ProxyError("ledger_unavailable", message)
    if version == 0 and tables:
        raise ProxyError("ledger_unavailable", f"{path} is a database, but not a ledger")
    if version == 0:
        connection.executescript(SCHEMA)
    (seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM outcome").fetchone()
    return int(seq)


def _refusal(error: Exception, path: Path) -> ProxyError:
    if isinstance(error, ProxyError):
        return error
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        message = f"the ledger in {path.parent} is in use by another process: stop it first"
    else:
        message = f"the ledger in {path.parent} cannot be used: {error}"
    return ProxyError("ledger_unavailable", message)
