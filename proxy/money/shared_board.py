"""The time of one engine, counted by all workers that send to it: a small file that each of them maps.

Every step is one read and one write of the sums under a lock of the file; how many run is counted by each worker
in a place of its own, so that the supervisor can strike what a dead one had open. The kernel lets go of a dead
process's lock; one that is stopped in the midst holds up nobody, who tries in vain goes on without. Instants are the
machine's monotonic clock, which all processes share. Nothing here outlives a restart: what was charged is in the books.
"""

from __future__ import annotations

import fcntl
import os
from hashlib import sha256
from mmap import mmap
from pathlib import Path
from struct import Struct
from typing import Final, Protocol

from pricing.gpu_board import Board, GpuTime, OwnBoard

SUMS: Final = Struct("=dddqdd")  # the fields of GpuTime but for the last, which is the sum of the counts behind them
COUNT: Final = Struct("=q")
TRIES: Final = 1_000  # a step takes microseconds; beyond, the one that holds the lock is not running


class Boards(Protocol):
    def board(self, provider: str, now: float) -> Board: ...

    def strike(self, worker: int, now: float) -> None:
        """A worker is dead, and its requests with it."""
        ...


class OwnBoards:
    """Of a process that serves alone."""

    def board(self, provider: str, now: float) -> Board:
        return OwnBoard(now)

    def strike(self, worker: int, now: float) -> None:
        """There is none."""


class SharedBoards:
    """`worker`: its number; None in the process that owns the books, which makes the files before any worker begins."""

    def __init__(self, folder: Path, workers: int, worker: int | None) -> None:
        self._folder = folder
        self._workers = workers
        self._worker = worker
        self._open: dict[str, SharedBoard] = {}

    def __repr__(self) -> str:
        return f"SharedBoards({self._open})"

    def board(self, provider: str, now: float) -> SharedBoard:
        """Raises OSError."""
        path = self._folder / f"engine-{sha256(provider.encode()).hexdigest()[:16]}.time"
        if self._worker is None:
            fresh = path.with_suffix(".new")  # who still drains from before goes on in the old one
            fresh.write_bytes(_packed(GpuTime(now, since=now)) + bytes(COUNT.size * self._workers))
            fresh.replace(path)
        self._open[provider] = SharedBoard(os.open(path, os.O_RDWR), self._worker)
        return self._open[provider]

    def strike(self, worker: int, now: float) -> None:
        for board in self._open.values():
            board.strike(worker, now)


class SharedBoard:
    """Closes `fd` when nobody knows it any more: requests end at the board they began at, whatever was reloaded."""

    def __init__(self, fd: int, worker: int | None) -> None:
        self._fd = fd
        self._worker = worker
        self._map = mmap(fd, 0)
        self._counts = Struct(f"={(len(self._map) - SUMS.size) // COUNT.size}q")

    def __repr__(self) -> str:
        return f"SharedBoard({self.in_flight} in flight)"

    def __del__(self) -> None:
        os.close(self._fd)

    @property
    def in_flight(self) -> int:
        return sum(self._counts.unpack_from(self._map, SUMS.size))

    def step(self, now: float, *, change: int = 0, charged: int = 0) -> GpuTime:
        locked = self._lock()
        time = self._advanced(now)
        if change and self._worker is not None:
            self._count(self._worker, change)
            time.in_flight += change
        time.charged_usd_nanos += charged
        self._write(time, locked=locked)
        return time

    def spread_since(self, since: float, busy_s: float) -> None:
        locked = self._lock()
        time = self._advanced(since)
        time.since, time.since_busy_s = since, busy_s
        self._write(time, locked=locked)

    def strike(self, worker: int, now: float) -> None:
        """Until now its requests ran."""
        locked = self._lock()
        time = self._advanced(now)
        COUNT.pack_into(self._map, SUMS.size + worker * COUNT.size, 0)
        self._write(time, locked=locked)

    def _advanced(self, now: float) -> GpuTime:
        time = GpuTime(*SUMS.unpack_from(self._map, 0))
        time.in_flight = self.in_flight
        time.advance(now)
        return time

    def _count(self, worker: int, change: int) -> None:
        at = SUMS.size + worker * COUNT.size
        COUNT.pack_into(self._map, at, COUNT.unpack_from(self._map, at)[0] + change)

    def _write(self, time: GpuTime, *, locked: bool) -> None:
        self._map[: SUMS.size] = _packed(time)
        if locked:
            fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def _lock(self) -> bool:
        for _ in range(TRIES):
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.sched_yield()
            else:
                return True
        return False


def _packed(time: GpuTime) -> bytes:
    return SUMS.pack(time.at, time.integral_s, time.busy_s, time.charged_usd_nanos, time.since, time.since_busy_s)
