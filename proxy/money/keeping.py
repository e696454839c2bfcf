"""What is done for the books now and then, and once at the end: sweep, checkpoint, comparison, the chain's newest hash.

A checkpoint every few minutes keeps the next start short; nothing is lost without it. The comparison adds up the rows
once more and looks whether the live balances say the same; a difference is a defect, and is only told. A hold past its
time is one too, and is charged in full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Literal

from msgspec import Struct

from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.money.books import Books, Part
from proxy.money.budgets import Budgets
from proxy.state.events import Checkpoint
from proxy.state.fold import Sums, fold
from proxy.state.journal import Journal
from proxy.types import Period

EVERY_S: Final = 10.0
CHECKPOINT_S: Final = 300.0
CHECKPOINT_ROWS: Final = 20_000
COMPARE_S: Final = 3_600.0

Tell = Callable[[str, Literal["info", "warning", "error"], Mapping[str, str | int]], None]  # event, level, fields


class Difference(Struct, frozen=True):
    period: Period
    live: Sums
    rows: Sums


class Keeper:
    """`keep` is a task of the process that owns the ledger; `close` ends it all, the ledger included."""

    def __init__(self, books: Books, budgets: Budgets, clock: Clock, tell: Tell, *, checkpoint: int = 0) -> None:
        """`checkpoint`: the row that the last one names."""
        self._books = books
        self._budgets = budgets
        self._clock = clock
        self._tell = tell
        self._checkpoint_seq = checkpoint
        self._checkpoint_at = self._compared_at = clock.now()
        self._forgotten = books.accounts.forgotten

    def __repr__(self) -> str:
        return f"Keeper(checkpoint={self._checkpoint_seq}, {self._books!r})"

    async def keep(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            self.sweep()
            now = self._clock.now()
            if now - self._compared_at >= COMPARE_S:
                self._compared_at = now
                self.tell_head()
                await self.compare()
            if self._due(now):
                await self.checkpoint()

    def sweep(self) -> None:
        books = self._books
        for hold, charges in self._budgets.expire():
            books.expired(hold, charges)
            self._tell("hold expired", "error", {"id": hold.id, "account": hold.path[-1]})
        books.tidy()
        if books.journal.unsynced:
            books.ledger.wake()

    async def checkpoint(self) -> None:
        """All balances, in parts, so that nobody waits for long. One that does not get to its end is ignored."""
        writer = _Writer(self._books)
        for part in self._books.parts():
            writer.add(part)
            await asyncio.sleep(0)
        self._written(writer)

    async def compare(self) -> list[Difference]:
        """Live balances against the rows since the last checkpoint. Not when an account was forgotten meanwhile: it
        begins again at nothing, while its rows stay."""
        if self._books.accounts.forgotten != self._forgotten:
            return []
        live: dict[Period, Sums] = {}
        until: dict[Period, int] = {}
        for part in self._books.parts():
            for change in part.balances:
                live.setdefault(change.period, Sums()).add(change)
                until[change.period] = part.through
            await asyncio.sleep(0)
        try:
            await self._books.flush()
            rows = await self._books.ledger.query(partial(fold, until=until))
        except ProxyError:  # it has too much to do, or can no longer be written: another hour
            return []
        pairs = [(period, sums, rows.balances.get(period, Sums())) for period, sums in live.items()]
        found = [Difference(*pair) for pair in pairs if pair[1] != pair[2]]
        for difference in found:
            period, live_sums, row_sums = difference.period, difference.live, difference.rows
            named = {"account": period.account, "unit": period.unit, "per": period.per}
            self._tell("ledger difference", "error", {**named, "live": live_sums.spent, "rows": row_sums.spent})
        return found

    def tell_head(self) -> None:
        head = self._books.ledger.head
        self._tell("ledger", "info", {"seq": head.seq, "hash": head.hash.hex()})

    def close(self) -> None:
        """A clean stop: the next start reads one checkpoint and no journal."""
        books, ledger = self._books, self._books.ledger
        if self._due(float("inf")):
            writer = _Writer(books)
            for part in books.parts():
                writer.add(part)
            self._written(writer)
        ledger.close()
        self.tell_head()
        books.journal.close()
        books.tidy()
        if not ledger.failed and not books.live:
            Journal.clear(books.journal.path)

    def _due(self, now: float) -> bool:
        rows = self._books.ledger.appended_seq - self._checkpoint_seq
        return rows > 0 and (rows >= CHECKPOINT_ROWS or now - self._checkpoint_at >= CHECKPOINT_S)

    def _written(self, writer: _Writer) -> None:
        writer.finish()
        self._checkpoint_seq = self._books.ledger.appended_seq
        self._checkpoint_at = self._clock.now()
        self._forgotten = self._books.accounts.forgotten


class _Writer:
    """One set of parts; the last one makes it whole."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._set = books.ledger.appended_seq
        self._part: Part | None = None

    def add(self, part: Part) -> None:
        self._append(last=False)
        self._part = part

    def finish(self) -> None:
        self._append(last=True)

    def _append(self, *, last: bool) -> None:
        if self._part is not None:
            balances = tuple(change for change in self._part.balances if change.counts)
            body = Checkpoint(self._set, self._part.through, last, balances)
            self._books.append_event("checkpoint", "", body)
