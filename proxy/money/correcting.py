"""Corrections of the ledger by a provider's bill: what an attempt turned out to cost becomes an event beside its row.

A correction names the cost by the bill, not the difference, so that a repeat finds nothing left to book. The event
stands in the ledger before it is answered. Windows that are closed block nobody and are left alone; in those that are
open the balance changes, and calls that wait for room may go on. What fits together with what is `policies.reconcile`'s
word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from proxy.money.budgets import Budgets
from proxy.state.events import Adjusted, Change
from proxy.state.export import Key, Known, attempts, known, unresolved
from proxy.state.ledger import Ledger
from proxy.state.ledger_report import AttemptPage, Corrected, CorrectedAll, UnresolvedPage, Verified
from proxy.state.verify import verify


class Billed(Struct, frozen=True):
    """What one attempt cost by the bill. Without `attempt`: a call whose end a crash has swallowed."""

    id: str  # of the line of the bill
    request_id: str
    attempt: int | None
    usd_nanos: int


class LedgerTools:
    """What the ledger's commands ask of the process that owns it."""

    def __init__(self, ledger: Ledger, budgets: Budgets) -> None:
        self._ledger = ledger
        self._budgets = budgets
        self._turn = asyncio.Lock()  # between a question and its booking no other correction may come

    def __repr__(self) -> str:
        return f"LedgerTools({self._ledger!r})"

    async def verify(self, after: int, *, hash: str | None, expect: str | None) -> Verified:
        return await self._ledger.query(partial(verify, after=after, hash=hash, expect=expect))

    async def attempts(
        self, after: int, *, since_ms: int | None, until_ms: int | None, provider: str | None
    ) -> AttemptPage:
        question = partial(attempts, after=after, since_ms=since_ms, until_ms=until_ms, provider=provider)
        return await self._ledger.query(question)

    async def unresolved(self, since_ms: int | None, until_ms: int | None) -> UnresolvedPage:
        return await self._ledger.query(partial(unresolved, since_ms=since_ms, until_ms=until_ms))

    async def correct(self, bill: str, corrections: Sequence[Billed], by: str) -> CorrectedAll:
        async with self._turn:
            found = await self._ledger.query(partial(known, keys=[_key(each) for each in corrections]))
            rows = [self._book(bill, each, by, found) for each in corrections]
            await self._ledger.flush()
        return CorrectedAll(rows, sum(row.difference_usd_nanos for row in rows))

    def _book(self, bill: str, billed: Billed, by: str, found: dict[Key, Known]) -> Corrected:
        key = _key(billed)
        before = found.get(key)
        if before is None:
            return Corrected(billed.id, "unknown")
        difference = billed.usd_nanos - before.usd_nanos
        if not difference and not before.held:
            return Corrected(billed.id, "repeated")
        if before.held:
            changes = self._budgets.resolve(before.held, billed.usd_nanos)
        else:
            changes = self._budgets.adjust(before.periods, difference)
        # Before anything else can come: a checkpoint must find the balances and the row on the same side.
        body = Adjusted(billed.id, bill, billed.attempt, difference, changes, by)
        self._ledger.append_event("adjust", billed.request_id, body)
        found[key] = replace(before, usd_nanos=billed.usd_nanos, held=())
        return Corrected(billed.id, "booked", difference, _windows(changes))


def _key(billed: Billed) -> Key:
    return billed.request_id, billed.attempt


def _windows(changes: Iterable[Change]) -> int:
    return len({change.period for change in changes})
