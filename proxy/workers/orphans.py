"""Workers whose supervisor has died, as the next start finds them: still draining, or gone and with a journal left.

What stands in their journals is booked before anything is granted: settlements the ledger does not have, once, by the
call's id; holds without an end by their last mark, else in full, as unresolved. Each live worker holds a lock, so that
nobody reads a journal that is still written; waiting for it is bounded by how long a worker may drain.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event
from typing import Final

from msgspec import DecodeError, msgpack

from proxy.errors import ProxyError
from proxy.listeners import ListenError
from proxy.money.holds import HoldRecord, expired, holds
from proxy.state import fold
from proxy.state.journal import Journal
from proxy.state.ledger import Ledger
from proxy.state.ledger_rows import Entry
from proxy.workers.messages import Settled, Upward
from proxy.workers.settlements import SETTLED

PORT_S: Final = 5.0  # in which a worker that has lost its supervisor lets go of the port; one being born is slowest
LOOK_S: Final = 0.05
LAST_WORDS_S: Final = 10.0  # beyond the time that calls may take


class Lock:
    """Held by a worker for as long as it lives, whatever ends it."""

    def __init__(self, journal: Path) -> None:
        self._fd = os.open(journal.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)

    def __repr__(self) -> str:
        return f"Lock({self._fd})"

    def acquire(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        os.close(self._fd)


def supervisor_lock(folder: Path) -> Lock:
    return Lock(folder / "workers.journal")


def bind_after(folder: Path, bind: Callable[[], socket.socket]) -> socket.socket:
    """Workers of a supervisor that has died may have the port for a moment still. Raises ListenError."""
    for _ in range(int(PORT_S / LOOK_S)):
        try:
            return bind()
        except ListenError:
            if not _abandoned(folder):
                raise
        Event().wait(LOOK_S)
    return bind()


def _abandoned(folder: Path) -> bool:
    if not _journals(folder):
        return False
    lock = supervisor_lock(folder)
    free = lock.acquire()
    lock.release()
    return free


def adopt(ledger: Ledger, folder: Path, *, drain_s: float) -> int:
    """Books what they left; returns how many holds had no end. Before anything starts. Raises ProxyError
    ledger_unavailable."""
    lost = 0
    for journal in _journals(folder):
        looks = int((drain_s + LAST_WORDS_S) / LOOK_S)
        while _lives(journal):  # ends: when it does, or with the looks
            if not looks:
                message = f"a worker of the gate before still runs and holds {journal}: stop it first"
                raise ProxyError("ledger_unavailable", message)
            looks -= 1
            Event().wait(LOOK_S)
        lost += _book(ledger, journal)
    return lost


def _book(ledger: Ledger, journal: Path) -> int:
    try:
        settled, held = _records(journal)
    except (OSError, DecodeError) as error:
        raise ProxyError("ledger_unavailable", f"{journal} cannot be read: {error}") from error
    ended = ledger.read_now(partial(fold.ended, ids={**settled, **held}))
    for id, entry in settled.items():
        if id not in ended:
            ledger.append_entry(entry)
    lost = [record for id, record in held.items() if id not in ended and id not in settled]
    for record in lost:
        ledger.append_event("expire", record.id, expired(record, record.changes()))
    ledger.write_now()
    Journal.clear(journal)
    return len(lost)


def _records(journal: Path) -> tuple[dict[str, Entry], dict[str, HoldRecord]]:
    decoder = msgpack.Decoder(Upward)
    records = list(Journal.read(journal))
    settled: dict[str, Entry] = {}
    for kind, payload in records:
        if kind == SETTLED and isinstance(message := decoder.decode(payload), Settled):
            settled[message.entry.request_id] = message.entry
    return settled, holds(records)


def _journals(folder: Path) -> tuple[Path, ...]:
    """By their locks, which every worker makes first."""
    return tuple(sorted(lock.with_suffix(".journal") for lock in folder.glob("worker-*.lock")))


def _lives(journal: Path) -> bool:
    lock = Lock(journal)
    free = lock.acquire()
    lock.release()
    return not free
