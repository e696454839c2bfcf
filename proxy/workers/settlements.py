"""Where a worker's calls go when they have ended: into the slot's journal, then to the supervisor, until it says so.

What stands in the journal survives this process, and the supervisor as well: whoever finds it later writes it into the
ledger, once, by the call's id. A hold stands there before its call is sent, so a call that never ended is known too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Raw, msgpack

from policies.leases import Hold, Leases
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.money.holds import HELD, MARKED, mark
from proxy.state.journal import Journal
from proxy.state.ledger_rows import entry, storable
from proxy.types import Amounts, Outcome
from proxy.workers.messages import Settled

SETTLED: Final = 2  # the kind of a record
WAITING_MAX: Final = 20_000  # calls that the ledger has not confirmed; then new ones are refused


class Settlements:
    """`send` takes a message that is encoded already."""

    def __init__(self, journal: Journal, clock: Clock, leases: Leases, send: Callable[[Raw], None]) -> None:
        self.journal = journal
        self.confirmed = asyncio.Event()  # nothing waits
        self.confirmed.set()
        self.failed = False  # the journal cannot be written: nothing new may be held
        self.cost_usd_nanos = 0  # of all calls handed over
        self._clock = clock
        self._leases = leases
        self._send = send
        self._encode = msgpack.Encoder().encode
        self._last = 0
        self._syncing = asyncio.Lock()
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._held: dict[str, bytes] = {}
        self._marks: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return f"Settlements({len(self._waiting)} waiting, {len(self._held)} held, {self.journal!r})"

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def accepting(self) -> bool:
        return not self.failed and len(self._waiting) < WAITING_MAX

    def append(self, outcome: Outcome) -> None:
        self._last += 1
        id = outcome.call.id
        row, used = entry(outcome), self._leases.settle(id)
        try:
            payload = self._encode(Settled(self._last, row, used))
        except (UnicodeEncodeError, OverflowError):
            payload = self._encode(Settled(self._last, storable(row), used))
        self._write(SETTLED, payload)
        self._waiting.append((self._last, payload))
        self.confirmed.clear()
        self._held.pop(id, None)
        self._marks.pop(id, None)
        self.cost_usd_nanos += row.cost_usd_nanos
        self._send(Raw(payload))

    def note(self, hold: Hold) -> bool:
        """A hold was taken, or raised. False: it could not be written, so nothing may be sent."""
        names = [lease.name for lease in hold.leases]
        payload = self._encode((hold.id, self._clock.wall(), hold.path, names, hold.amounts))
        self._held[hold.id] = payload
        return self._write(HELD, payload)

    def mark(self, id: str, reached: Amounts) -> None:
        """What a call that is held would cost if this process died now."""
        payload = self._marks[id] = mark(id, reached)
        self._write(MARKED, payload)

    def acknowledged(self, seq: int) -> None:
        waiting = self._waiting
        while waiting and waiting[0][0] <= seq:  # ends: each turn takes one
            waiting.popleft()
        if not waiting:
            self.confirmed.set()
        if self.journal.full:
            self.journal.rotate(self._live())

    async def flush(self) -> None:
        """The journal is on the disk, as far as it goes now. Who comes while a sync runs waits for the next one, as all
        others do. Raises ProxyError."""
        async with self._syncing:
            if self.journal.unsynced:
                try:
                    await asyncio.get_running_loop().run_in_executor(None, self.journal.sync)
                except OSError as error:
                    self.failed = True
                    raise ProxyError("ledger_unavailable", f"the journal cannot be synced: {error.strerror}") from error

    def _live(self) -> Iterator[tuple[int, bytes]]:
        yield from ((HELD, payload) for payload in self._held.values())
        yield from ((MARKED, payload) for payload in self._marks.values())
        yield from ((SETTLED, payload) for _, payload in self._waiting)

    def _write(self, kind: int, payload: bytes) -> bool:
        try:
            self.journal.append(kind, payload)
        except OSError:
            self.failed = True
        return not self.failed
