"""What `GET /budgets` answers and `headgate budgets` reads: every limit as it stands, and where it is heading.

Amounts are in the limit's own unit: money as exact decimal text in USD, everything else as whole numbers. Instants are
RFC 3339 text in UTC.
"""

from __future__ import annotations

from msgspec import Struct

from proxy.types import Rung, Unit

Amount = str | int


class BudgetRow(Struct, frozen=True):
    account: str
    carrier: str  # whose limit it is: the account itself, or one above it
    unit: Unit
    window: str
    limit: Amount  # top-ups included
    spent: Amount
    held: Amount
    overrun: Amount
    unresolved: Amount
    left: Amount
    used: float  # share of the limit that is spent, overrun, unresolved or held
    resets_at: str | None  # None: never
    rate_per_hour: Amount | None  # None: nothing was spent since the gate started
    exhausted_at: str | None  # None: not before it resets, at that rate
    expected_at_end: Amount | None
    pace: float  # 0 to 1: how hard spending ahead of the calendar bears on the choice of targets
    rung: Rung | None


class BudgetList(Struct, frozen=True):
    rows: tuple[BudgetRow, ...]
    truncated: bool  # there are more
