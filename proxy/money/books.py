"""Keeps the ledger and the accounts in step: no hold without a record that survives a crash, no posting without a row.

Between the accounts and the ledger's rows two moments differ. A hold counts before its call has a row: it stands in the
hold journal until the row is on the disk. A posting counts before its row is appended: it is left out of a checkpoint,
which is a sum of rows. What a crash, or a hold past its time, means for the accounts is decided in `restoring` and
`keeping`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from msgspec import Struct, msgpack

from policies.accounts import Accounts, Hold
from policies.limits import Instant
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.money.holds import HELD, MARKED, mark
from proxy.state import events
from proxy.state.events import Change, Expired
from proxy.state.journal import Journal
from proxy.state.ledger import Ledger
from proxy.state.ledger_rows import Entry
from proxy.types import Amounts, Charge, Outcome, Period

SYNC_S: Final = 1.0  # between two syncs of the journal: each costs as much as a commit, and a SIGKILL spares it anyway
PART: Final = 500  # accounts that are listed between two looks at the event loop

_ENCODE: Final = msgpack.Encoder().encode


class Part(Struct, frozen=True):
    """Balances as the ledger's rows up to `through` make them."""

    through: int
    balances: tuple[Change, ...]


class Books:
    """Stands beside the budgets (`held`, `marked`, `posted`) and before the ledger (`append`, `append_event`)."""

    def __init__(self, ledger: Ledger, accounts: Accounts, journal: Journal, clock: Clock) -> None:
        self.ledger = ledger
        self.accounts = accounts
        self.journal = journal
        self._clock = clock
        self._live: dict[str, bytes] = {}  # holds whose end is not on the disk
        self._marks: dict[str, bytes] = {}  # of those, the ones whose output is being relayed
        self._ended: deque[tuple[int, str]] = deque()  # of those, the ones whose end is appended, and its row
        self._posted: dict[str, tuple[Charge, ...]] = {}  # counted in the accounts, and not yet appended
        self._sync_wall = 0.0  # of the clock, when the journal was last synced
        ledger.sync_beside(self._sync)

    def __repr__(self) -> str:
        return f"Books({len(self._live)} holds, {len(self._posted)} posted ahead, {self.journal!r})"

    @property
    def live(self) -> int:
        """Holds that the next start would find open if the process died now."""
        return len(self._live)

    # --- beside the budgets ------------------------------------------------------------------------------------------

    def held(self, hold: Hold) -> ProxyError | None:
        """Before the hold counts. The error: it could not be written, so nothing may be sent."""
        payload = _ENCODE((hold.id, self._clock.wall(), hold.path, hold.windows.names, hold.taken))
        try:
            if self.journal.full:
                self.tidy()
                self.journal.rotate(self._records())
            self.journal.append(HELD, payload)
        except OSError as error:
            why = error.strerror or str(error)
            return ProxyError("ledger_unavailable", f"Holds cannot be recorded: {why}.", retry_after_s=1.0)
        self._live[hold.id] = payload
        return None

    def marked(self, id: str, reached: Amounts) -> None:
        """What a call that is live would cost if the process died now. One that cannot be written is tried again with
        the next."""
        if id in self._live:
            payload = self._marks[id] = mark(id, reached)
            with suppress(OSError):
                self.journal.append(MARKED, payload)

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

    def expired(self, hold: Hold, charges: tuple[Charge, ...]) -> None:
        """The time of a hold was over, and it was ended for its call with these charges."""
        self.append_event("expire", hold.id, Expired("time", hold.path, None, events.charged(charges)))
        self._end(hold.id)

    async def flush(self) -> None:
        await self.ledger.flush()

    def tidy(self) -> None:
        """Forgets holds whose end is on the disk."""
        on_disk, ended = self.ledger.head.seq, self._ended
        while ended and ended[0][0] <= on_disk:  # ends: each turn takes one
            id = ended.popleft()[1]
            self._live.pop(id, None)
            if self._marks:
                self._marks.pop(id, None)

    def _end(self, id: str) -> None:
        self._posted.pop(id, None)
        if id in self._live:
            self._ended.append((self.ledger.appended_seq, id))
        ended = self._ended
        if ended and ended[0][0] <= self.ledger.head.seq:
            self.tidy()

    def _records(self) -> list[tuple[int, bytes]]:
        """What has to stand in a fresh journal."""
        held = [(HELD, payload) for payload in self._live.values()]
        return held + [(MARKED, payload) for payload in self._marks.values()]

    def _sync(self) -> None:
        """In the ledger's thread, before each commit."""
        wall = self._clock.wall()
        if not 0 <= wall - self._sync_wall < SYNC_S:
            self._sync_wall = wall
            self.journal.sync()

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
