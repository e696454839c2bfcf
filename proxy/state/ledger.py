"""The writer of the ledger: one thread, one connection, one file that nobody else may open.

Calls and events are appended from the event loop without waiting and committed in groups with a sync each (WAL,
`synchronous=FULL`), so what a flush has acknowledged survives a power loss. Each gets the next number, in the order in
which they were appended. Settlements are never refused: when too much waits, or a write has failed, `accepting` turns
false and new *calls* must be refused instead. A sync that failed is never tried again, because the pages it was for may
be gone from the cache (Rebello et al., "Can applications recover from fsync failures?", 2020): the process has to
restart. Reads run on the same connection between groups.
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

from msgspec import Struct

from proxy.clock import SystemClock
from proxy.errors import ProxyError
from proxy.state import events
from proxy.state.chain import GENESIS
from proxy.state.events import Event
from proxy.state.ledger_answer import answer, nothing
from proxy.state.ledger_insert import insert
from proxy.state.ledger_rows import Entry, entry
from proxy.state.ledger_schema import prepare, refusal
from proxy.types import Outcome

GROUP_S = 0.05  # an outcome waits at most this long for company
GROUP_ROWS = 500  # ... or until this many rows wait
ROWS_WAITING_MAX = 20_000
ENDED_MAX = 10_000
READS_WAITING_MAX = 64
READ_STEPS = 50_000  # of SQLite's machine, a millisecond or two, between two looks at what waits behind a read

T = TypeVar("T")
Item = Entry | Event


class Head(Struct, frozen=True):
    """The last row that is on the disk. Kept elsewhere too, it shows whether the end of a ledger was cut off."""

    seq: int
    hash: bytes


class Ledger:
    """`append`, `query`, `flush` and `close` belong to the event loop, `step` to the writer.

    In production `start` gives the writer a thread. Without it (simulation, tests of one file) `query`, `flush` and
    `close` do the writer's steps themselves, so that nothing happens outside the loop's virtual time.
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, report: Callable[[str], None], *, wall: Callable[[], float]
    ) -> None:
        self.written = 0  # rows committed
        self.commits = 0
        self.failed = 0  # groups that could not be committed
        self.posted_usd_nanos = 0  # committed since the start, over the attempts that had a price
        self.head = _head(connection)
        self.appended_seq = self.head.seq  # the number of what was appended last
        self._path = path
        self._inode = path.stat().st_ino
        self._connection = connection
        self._report = report
        self._appended = 0  # rows; only the loop writes it, only the writer writes `written`
        self._queue: deque[Item] = deque()
        self.ended: deque[Entry] = deque(maxlen=ENDED_MAX)  # the latest calls, for whoever takes them
        self._group: list[Item] = []  # taken from the queue, not yet committed
        self._reads: deque[tuple[int, Callable[[sqlite3.Connection], None]]] = deque()  # due at how many rows, what
        self._wall = wall
        self._sync_beside: Callable[[], None] = _nothing_beside
        self._wake = threading.Event()  # something waits
        self._hurry = threading.Event()  # ... that should not wait for company
        self._closing = False
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"Ledger({str(self._path)!r}, written={self.written}, waiting={self.waiting}, failed={self.failed})"

    @classmethod
    def open(
        cls,
        path: Path,
        report: Callable[[str], None] = lambda message: None,
        *,
        wall: Callable[[], float] | None = None,
    ) -> Ledger:
        """Raises ProxyError ledger_unavailable. `report` hears, on the writer's thread, why writing has stopped; `wall`
        dates events."""
        connection = _connect(path)
        try:
            prepare(connection, path)
            return cls(path, connection, report, wall=wall or SystemClock().wall)
        except (ProxyError, sqlite3.Error) as error:
            connection.close()
            raise refusal(error, path) from error

    def sync_beside(self, sync: Callable[[], None]) -> None:
        """Before each commit the writer calls `sync`: a file that lies beside the ledger is to be as durable."""
        self._sync_beside = sync

    def read_now(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        """What `ask` reads from the file before `start`. Raises ProxyError ledger_unavailable for a damaged file."""
        try:
            return ask(self._connection)
        except sqlite3.Error as error:
            raise refusal(error, self._path) from error

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def write_now(self) -> None:
        """Commits what was appended before `start`. Raises ProxyError ledger_unavailable."""
        self._drain()
        if self.failed:
            raise ProxyError("ledger_unavailable", f"the ledger in {self._path.parent} cannot be written")

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
        return max(0.0, now - oldest.ended_at) if isinstance(oldest, Entry) else 0.0

    def append(self, outcome: Outcome) -> None:
        """A call of this process. Its rows are made here, while all of it is at hand, and the rest of it is let go: the
        writer would have to fetch it from far, some hundred calls later."""
        self.append_entry(entry(outcome))

    def append_entry(self, entry: Entry) -> None:
        """A call of another process."""
        self.ended.append(entry)
        self._append(entry, 1 + len(entry.attempts))

    def append_event(self, kind: str, subject: str, body: object) -> None:
        """`body`: anything that JSON can hold."""
        self._append(Event(int(self._wall() * 1000), kind, subject, events.text(body)), 1)

    def wake(self) -> None:
        """What lies beside is to be synced soon."""
        self._wake.set()

    def _append(self, item: Item, rows: int) -> None:
        self._queue.append(item)
        self._appended += rows
        self.appended_seq += 1
        if not self._wake.is_set():
            self._wake.set()
        elif self._appended - self.written >= GROUP_ROWS and not self._hurry.is_set():
            self._hurry.set()

    async def query(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        """What `ask` reads from the file, everything appended so far included. It must not write."""
        if len(self._reads) >= READS_WAITING_MAX:
            raise ProxyError("overloaded", "the ledger has no room for another question now: ask again later")
        return await self._ask(ask)

    async def _ask(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        if self._closing:
            raise ProxyError("ledger_unavailable", "the ledger is being closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._reads.append((self._appended, partial(answer, ask, loop, future)))
        self._step_soon()
        return await future

    async def flush(self) -> None:
        """Returns when everything appended so far is committed. Raises ProxyError when it cannot be."""
        mark = self._appended
        await self._ask(nothing)
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
        try:
            self._sync_beside()
            if not rows:
                return 0
            self._check_file()
            head = self.head
            digest = insert(self._connection, head.seq + 1, self._group, head.hash)
        except Exception as error:  # the disk's or our own: either way nothing more can be promised
            self._fail(error)
            return 0
        self.posted_usd_nanos += sum(map(_cost, self._group))
        self.head = Head(head.seq + len(self._group), digest)
        self._group.clear()
        self.commits += 1
        self.written += rows
        return rows

    def _take(self) -> int:
        rows = 0
        while self._queue and rows < GROUP_ROWS:
            item = self._queue.popleft()
            self._group.append(item)
            rows += 1 if isinstance(item, Event) else 1 + len(item.attempts)
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


def _cost(item: Item) -> int:
    return item.cost_usd_nanos if isinstance(item, Entry) else 0


def _nothing_beside() -> None:
    """There is only the ledger to be synced."""


def _connect(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # SQLite gives the files beside it the same rights
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
    except (OSError, sqlite3.Error) as error:
        raise refusal(error, path) from error


def _head(connection: sqlite3.Connection) -> Head:
    """Of the rows in the file, the last one."""
    last = "SELECT seq, hash FROM {} WHERE seq = (SELECT max(seq) FROM {})"
    found = [connection.execute(last.format(table, table)).fetchone() for table in ("outcome", "event")]
    seq, digest = max((row for row in found if row is not None), default=(0, None))
    return Head(int(seq), GENESIS if digest is None else digest)
