"""The accounts at the start: what the ledger's rows add up to, and what a crash left open.

A hold in the journal without an end in the ledger belongs to a call whose fate nobody knows: it is charged by its last
mark, or in full, to the windows it was taken in, as unresolved. Its event makes that happen once, however often the
start is interrupted: events first, then the journal is cleared. So a crash can only count too much.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from msgspec import DecodeError, Struct

from policies.accounts import Accounts
from policies.limits import Instant, Totals
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.money.books import Books
from proxy.money.holds import HoldRecord, expired, holds
from proxy.state.fold import Sums, ended, fold, topups
from proxy.state.journal import Journal
from proxy.state.ledger import Ledger

FILE: Final = "holds"


class Restored(Struct, frozen=True):
    periods: int
    dropped: int  # of those, the ones whose limit no longer exists
    expired: int  # holds that a crash had left
    checkpoint: int  # the row the sums began at


def open_books(ledger: Ledger, accounts: Accounts, folder: Path, clock: Clock) -> tuple[Books, Restored]:
    """The accounts as they were, and what keeps them from now on. Before anything starts. Raises ProxyError."""
    restored = restore(ledger, accounts, folder / FILE, clock)
    try:
        journal = Journal(folder / FILE)
    except OSError as error:
        raise ProxyError("ledger_unavailable", f"holds cannot be recorded in {folder}: {error.strerror}") from error
    return Books(ledger, accounts, journal, clock), restored


def restore(ledger: Ledger, accounts: Accounts, journal: Path, clock: Clock) -> Restored:
    """Raises ProxyError ledger_unavailable."""
    lost = _lost(ledger, journal)
    for record in lost:
        ledger.append_event("expire", record.id, expired(record, record.changes()))
    ledger.write_now()
    Journal.clear(journal)
    found = ledger.read_now(fold)
    balances = found.balances
    at = Instant(clock.now(), clock.wall())
    kept = sum(accounts.seed(period, _totals(sums), at=at) for period, sums in balances.items())
    for topup in ledger.read_now(topups):
        accounts.remember(topup.id, tuple(change.period for change in topup.changes))
    dropped = len(balances) - kept
    return Restored(periods=len(balances), dropped=dropped, expired=len(lost), checkpoint=found.since)


def _lost(ledger: Ledger, journal: Path) -> list[HoldRecord]:
    """The holds that have no end."""
    try:
        held = holds(Journal.read(journal))
    except OSError as error:
        raise ProxyError("ledger_unavailable", f"the holds in {journal} cannot be read: {error.strerror}") from error
    except DecodeError as error:
        raise ProxyError("ledger_unavailable", f"the holds in {journal} are damaged: {error}") from error
    known = ledger.read_now(partial(ended, ids=held))
    return [record for id, record in held.items() if id not in known]


def _totals(sums: Sums) -> Totals:
    return Totals(sums.spent, sums.overrun, sums.unresolved, sums.granted, sums.forgiven)
