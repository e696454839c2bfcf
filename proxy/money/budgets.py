"""The budgets of one process: a `Store` over the arithmetic of `policies.accounts`, and the queues in front of it.

A call that only the holds of running calls stand in the way of waits for them, in the order of arrival, for up to
`wait_s`; whoever does not get through in that time is refused and has taken nothing. All that is decided happens
between two awaits, so no other call can come between the question and the hold.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from msgspec import Struct

from policies.accounts import Accounts, Hold
from policies.limits import Crossing, Instant, Posting, Refusal, Standing, Totals
from policies.refusal import budget_exceeded
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.holds import Left, Reservation
from proxy.pressure import Pressure
from proxy.state.events import Change, change
from proxy.state.store import Ask
from proxy.types import Amounts, Charge, Period, Unit


class Waiting(Struct, frozen=True):
    """How long, and how many, calls may wait for the holds of others."""

    wait_s: float = 2.0
    calls_max: int = 1_000


class Listener(Protocol):
    """Is told what people want to know of budgets. Must not wait."""

    def crossed(self, crossing: Crossing) -> None: ...

    def overran(self, charge: Charge) -> None: ...

    def charged(self, charges: tuple[Charge, ...]) -> None: ...

    def denied(self, refusal: Refusal) -> None: ...


class Witness(Protocol):
    """Sees to it that holds and postings are not lost with the process. Must not wait."""

    def held(self, hold: Hold) -> ProxyError | None:
        """Before the hold counts; the error is why it must not."""
        ...

    def marked(self, id: str, reached: Amounts) -> None: ...

    def posted(self, id: str, charges: tuple[Charge, ...]) -> None: ...


class Budgets:
    def __init__(
        self,
        accounts: Accounts,
        clock: Clock,
        listener: Listener,
        waiting: Waiting | None = None,
        *,
        witness: Witness | None = None,
    ) -> None:
        self.accounts = accounts
        self.waiting = 0  # calls
        self._clock = clock
        self._listener = listener
        self._witness = witness
        self.bounds = waiting or Waiting()
        self.recall: Callable[[tuple[str, ...]], None] = _nothing_lent
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}  # by the account that is waited for

    def __repr__(self) -> str:
        return f"Budgets({self.accounts!r}, waiting={self.waiting})"

    @property
    def live(self) -> int:
        """Holds that have not ended."""
        return self.accounts.live

    def limited(self, path: tuple[str, ...]) -> bool:
        return self.accounts.limited(path, at=self._at())

    def left(self, path: tuple[str, ...]) -> Left:
        return self.accounts.room(path, at=self._at())

    def pressure(self, path: tuple[str, ...]) -> Pressure:
        return self.accounts.pressure(path, at=self._at())

    def standing(self, account: str) -> tuple[Standing, ...]:
        return self.accounts.state(account, at=self._at())

    def top_up(self, id: str, account: str, *, unit: Unit, amount: int) -> tuple[Change, ...] | None:
        """Raises one account's limits, and lets those try again that wait for it. None: it has no such limit."""
        at = self._at()
        before = {standing.period: standing.totals for standing in self.accounts.state(account, at=at)}
        if not self.accounts.topup(id, account, unit=unit, amount=amount, at=at):
            return None
        return self._changed(before)

    def adjust(self, periods: tuple[Period, ...], usd_nanos: int) -> tuple[Change, ...]:
        """Books what became known after a call had ended, where the windows are still open."""
        before = self._totals(periods)
        posting = self.accounts.adjust(periods, Amounts(usd_nanos=usd_nanos), at=self._at())
        self._tell(posting)
        return self._changed(before)

    def resolve(self, held: tuple[Change, ...], usd_nanos: int) -> tuple[Change, ...]:
        """What a crash had left open of one call turns out to have cost so much; nothing: it was never sent."""
        before = self._totals(each.period for each in held)
        for each in held:
            spent = usd_nanos if each.unit == "usd" or not usd_nanos else each.unresolved
            self.accounts.resolve(each.period, each.unresolved, spent, at=self._at())
        return self._changed(before)

    def refusal(self, path: tuple[str, ...], amounts: Amounts) -> ProxyError | None:
        """What `reserve` would say now, without waiting. Nothing is taken, and nobody is told."""
        refusal = self.accounts.refusal(path, amounts, at=self._at())
        return budget_exceeded(refusal) if refusal else None

    def dismiss(self, path: tuple[str, ...]) -> None:
        self.accounts.dismiss(path, at=self._at())

    def _totals(self, periods: Iterable[Period]) -> dict[Period, Totals]:
        """Of those that are open."""
        asked, at = set(periods), self._at()
        accounts = dict.fromkeys(period.account for period in asked)
        found = [each for account in accounts for each in self.accounts.state(account, at=at)]
        return {standing.period: standing.totals for standing in found if standing.period in asked}

    def _changed(self, before: dict[Period, Totals]) -> tuple[Change, ...]:
        self.released(tuple(dict.fromkeys(period.account for period in before)))
        changes = (_difference(period, before[period], now) for period, now in self._totals(before).items())
        return tuple(change for change in changes if change.counts)

    async def reserve(self, id: str, path: tuple[str, ...], ask: Ask, *, ttl_s: float) -> Reservation | ProxyError:
        line = self._line_ahead(path) if self._lines else None
        answer = None if line else self._try(id, path, ask, ttl_s)
        if isinstance(answer, Hold):
            return answer
        if answer is None or (isinstance(answer, Refusal) and answer.only_held):
            account = line or _held_by(answer)
            answer = await self._in_line(account, id, path, ask=ask, ttl_s=ttl_s)
        if isinstance(answer, Refusal):
            return self._denied(answer)
        return answer

    async def extend(self, reservation: Reservation, total: Amounts) -> Reservation | ProxyError:
        answer = self.accounts.extend(reservation.id, total, wall=self._clock.wall())
        if answer is None:
            return ProxyError("internal", "The hold of this call had ended before it could be raised.")
        if isinstance(answer, Refusal):
            return self._denied(answer)
        return self._witnessed(answer) or answer

    def mark(self, reservation: Reservation, reached: Amounts) -> None:
        if self._witness is not None:
            self._witness.marked(reservation.id, reached)

    def post(self, reservation: Reservation, used: Amounts) -> tuple[Charge, ...]:
        posting = self.accounts.post(reservation.id, used)
        if posting is None:
            return ()
        charges = posting.charges
        if posting.crossings or posting.overruns:
            self._tell(posting)
        if charges:
            if self._witness is not None:
                self._witness.posted(reservation.id, charges)
            self._listener.charged(charges)
        if self._lines:
            self.released(reservation.path)
        return charges

    def _tell(self, posting: Posting) -> None:
        for crossing in posting.crossings:
            self._listener.crossed(crossing)
        for charge in posting.overruns:
            self._listener.overran(charge)

    def void(self, reservation: Reservation) -> None:
        if self.accounts.void(reservation.id):
            self.released(reservation.path)

    def expire(self) -> list[tuple[Hold, tuple[Charge, ...]]]:
        """Ends the holds past their time with all that was held: what their calls really cost is not known."""
        ended = []
        for hold in self.accounts.expire(self._clock.now()):
            posting = self.accounts.post(hold.id, hold.amounts)
            ended.append((hold, posting.charges if posting else ()))
            self.released(hold.path)
        return ended

    def _witnessed(self, hold: Hold) -> ProxyError | None:
        """What no limit stands over need not be remembered."""
        return self._witness.held(hold) if self._witness is not None and hold.taken else None

    # --- waiting for the holds of others -----------------------------------------------------------------------------

    def _try(self, id: str, path: tuple[str, ...], ask: Ask, ttl_s: float) -> Reservation | Refusal | ProxyError:
        answer = self.accounts.reserve(id, path, ask=ask, at=self._at(), ttl_s=ttl_s)
        if isinstance(answer, Refusal):
            return answer
        failure = self._witnessed(answer)
        if failure is None:
            return answer
        self.accounts.void(id)
        return failure

    def _line_ahead(self, path: tuple[str, ...]) -> str | None:
        """The account of the path that others wait for already: whoever comes later stands behind them."""
        return next((account for account in path if account in self._lines), None)

    async def _in_line(
        self, account: str, id: str, path: tuple[str, ...], *, ask: Ask, ttl_s: float
    ) -> Reservation | Refusal | ProxyError:
        """Waits for its turn and tries, until it gets through, may not, or its time is over."""
        self.recall(path)
        if self.waiting >= self.bounds.calls_max or self.bounds.wait_s <= 0:
            return self._try(id, path, ask, ttl_s)
        until, first = self._clock.now() + self.bounds.wait_s, True
        self.waiting += 1
        try:
            while await self._turn(account, until, first=first):  # ends: by the answer, or when the time is over
                answer = self._try(id, path, ask, ttl_s)
                if not (isinstance(answer, Refusal) and answer.only_held):
                    return answer
                before, account, first = account, _held_by(answer), False
                if account != before:
                    self._wake(before)  # what is in the way of this one need not be in the next one's
            return self._try(id, path, ask, ttl_s)
        finally:
            self.waiting -= 1
            self._wake(account)  # whoever leaves a line, for whatever reason, may have been all that stood in the way

    async def _turn(self, account: str, until: float, *, first: bool) -> bool:
        """False: the time is over. Who has been at the head of the line before stands there again."""
        line = self._lines.setdefault(account, deque())
        turn = asyncio.get_running_loop().create_future()
        (line.append if first else line.appendleft)(turn)
        try:
            async with asyncio.timeout(max(0.0, until - self._clock.now())):
                await turn
        except TimeoutError:
            return False
        finally:
            self._leave(account, turn)
        return True

    def _leave(self, account: str, turn: asyncio.Future[None]) -> None:
        line = self._lines.get(account)
        if line is not None:
            if turn in line:
                line.remove(turn)
            if not line:
                del self._lines[account]

    def released(self, path: tuple[str, ...]) -> None:
        """There is more room on these accounts: whoever waits for it tries again."""
        if self._lines:
            for account in path:
                self._wake(account)

    def _wake(self, account: str) -> None:
        line = self._lines.get(account)
        if line and not line[0].done():
            line[0].set_result(None)

    def _denied(self, refusal: Refusal) -> ProxyError:
        self._listener.denied(refusal)
        return budget_exceeded(refusal)

    def _at(self) -> Instant:
        return Instant(self._clock.now(), self._clock.wall())


def _nothing_lent(path: tuple[str, ...]) -> None:
    """Who has lent money of these accounts asks for it back here, as soon as a call must wait."""


def _held_by(refusal: Refusal | None) -> str:
    assert refusal is not None  # a call that is not in anyone's way has been answered
    return refusal.shortfalls[0].period.account


def _difference(period: Period, before: Totals, now: Totals) -> Change:
    return change(
        period,
        spent=now.spent - before.spent,
        overrun=now.overrun - before.overrun,
        unresolved=now.unresolved - before.unresolved,
        granted=now.granted - before.granted,
        forgiven=now.forgiven - before.forgiven,
    )
