"""Keeps the ledger and the accounts in step: no hold without a record that survives a crash, no posting without a row.

Between the accounts and the ledger's rows two moments differ. A hold counts before its call has a row: it stands in the
hold journal until the row is on the disk. A posting counts before its row is appended: it is left out of a checkpoint,
which is a sum of rows. What a crash, or a hold past its time, means for the accounts is decided in `restoring` and
`keeping`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, Literal

from msgspec import Struct, msgpack

from policies.accounts import Accounts, Hold
from policies.limits import Instant
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.state import events
from proxy.state.events import Change, Expired
from proxy.state.journal import Journal
from proxy.state.ledger import Ledger
from proxy.state.ledger_rows import Entry
from proxy.types import Charge, Outcome, Per, Period, Unit

HELD: Final = 1  # the kind of a record
PART: Final = 500  # accounts that are listed between two looks at the event loop

Taken = tuple[str, Unit, Per, int, str, int]  # a period, and what is held of it


class HoldRecord(Struct, frozen=True, array_like=True):
    """A hold as the journal has it."""

    id: str
    wall: float
    path: tuple[str, ...]
    amounts: tuple[int, ...]  # in the order of `Amounts.by_index`
    taken: tuple[Taken, ...]

    def changes(self) -> tuple[Change, ...]:
        """All of it, for who does not know what became of the call. A slot is given back in any case."""
        return tuple(
            Change(account, unit, per, id, carrier, unresolved=amount)
            for account, unit, per, id, carrier, amount in self.taken
            if unit != "concurrency" and amount
        )


_ENCODE: Final = msgpack.Encoder().encode
DECODE: Final = msgpack.Decoder(HoldRecord).decode


class Part(Struct, frozen=True):
    """Balances as the ledger's rows up to `through` make them."""

    through: int
    balances: tuple[Change, ...]


class Books:
    """Stands beside the budgets (`held`, `posted`) and before the ledger (`append`, `append_event`)."""

    def __init__(self, ledger: Ledger, accounts: Accounts, journal: Journal, clock: Clock) -> None:
        self.ledger = ledger
        self.accounts = accounts
        self.journal = journal
        self._clock = clock
        self._live: dict[str, bytes] = {}  # holds whose end is not on the disk
        self._ended: deque[tuple[int, str]] = deque()  # of those, the ones whose end is appended, and its row
        self._posted: dict[str, tuple[Charge, ...]] = {}  # counted in the accounts, and not yet appended
        ledger.sync_beside(journal.sync)

    def __repr__(self) -> str:
        return f"Books({len(self._live)} holds, {len(self._posted)} posted ahead, {self.journal!r})"

    @property
    def live(self) -> int:
        """Holds that would have to be charged in full if the process died now."""
        return len(self._live)

    # --- beside the budgets ------------------------------------------------------------------------------------------

    def held(self, hold: Hold) -> ProxyError | None:
        """Before the hold counts. The error: it could not be written, so nothing may be sent."""
        taken = []
        for balance, amount in zip(hold.balances, hold.amounts):  # noqa: B905  (made side by side)
            of = balance.period
            taken.append((of.account, of.unit, of.per, of.id, of.carrier, amount))
        payload = _ENCODE((hold.id, self._clock.wall(), hold.path, hold.draw.by_index, taken))
        try:
            if self.journal.full:
                self.tidy()
                self.journal.rotate([(HELD, live) for live in self._live.values()])
            self.journal.append(HELD, payload)
        except OSError as error:
            why = error.strerror or str(error)
            return ProxyError("ledger_unavailable", f"Holds cannot be recorded: {why}.", retry_after_s=1.0)
        self._live[hold.id] = payload
        return None

    def posted(self, id: str, charges: tuple[Charge, ...]) -> None:
        """In the accounts; the row follows."""
        if charges:
            self._posted[id] = charges

    # --- before the ledger -------------------------------------------------------------------------------------------

    def append(self, outcome: Outcome) -> None:
        self.ledger.append(outcome)
        self._end(outcome.call.id)

    def append_entry(self, entry: Entry) -> None:
        self.ledger.append_entry(entry)
        self._end(entry.request_id)

    def append_event(self, kind: str, subject: str, body: object) -> None:
        self.ledger.append_event(kind, subject, body)

    def expired(
        self, hold: Hold, charges: tuple[Charge, ...], *, why: Literal["crash", "time"], held_wall: float | None = None
    ) -> None:
        """A hold was ended for its call, with these charges."""
        changes = events.charged(charges)
        self.append_event("expire", hold.id, Expired(why, hold.path, held_wall, changes))
        self._end(hold.id)

    async def flush(self) -> None:
        await self.ledger.flush()

    def tidy(self) -> None:
        """Forgets holds whose end is on the disk."""
        on_disk, ended = self.ledger.head.seq, self._ended
        while ended and ended[0][0] <= on_disk:  # ends: each turn takes one
            self._live.pop(ended.popleft()[1], None)

    def _end(self, id: str) -> None:
        self._posted.pop(id, None)
        if id in self._live:
            self._ended.append((self.ledger.appended_seq, id))
        ended = self._ended
        if ended and ended[0][0] <= self.ledger.head.seq:
            self.tidy()

    # --- what a checkpoint says --------------------------------------------------------------------------------------

    def parts(self) -> Iterator[Part]:
        """All balances, a part of the accounts at a time, each as it is when it is asked for. At least one."""
        names = self.accounts.names
        for first in range(0, max(1, len(names)), PART):
            yield Part(self.ledger.appended_seq, tuple(self._balances(names[first : first + PART])))

    def _balances(self, names: Iterable[str]) -> Iterator[Change]:
        at = Instant(self._clock.now(), self._clock.wall())
        ahead = self._ahead()
        for name in names:
            for standing in self.accounts.look(name, at=at):
                period, totals = standing.period, standing.totals
                spent, overrun = ahead.get(period, (0, 0)) if ahead else (0, 0)
                yield events.change(
                    period,
                    spent=totals.spent - spent,
                    overrun=totals.overrun - overrun,
                    unresolved=totals.unresolved,
                    granted=totals.granted,
                    forgiven=totals.forgiven,
                )

    def _ahead(self) -> dict[Period, tuple[int, int]]:
        """Spent and overrun by calls whose rows are not appended yet."""
        sums: dict[Period, tuple[int, int]] = {}
        for charges in self._posted.values():
            for charge in charges:
                spent, overrun = sums.get(charge.period, (0, 0))
                sums[charge.period] = (spent + charge.amount - charge.overrun, overrun + charge.overrun)
        return sums
