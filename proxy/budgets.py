"""The budgets of one process: a `Store` over the arithmetic of `policies.accounts`, and the queues in front of it.

A call that only the holds of running calls stand in the way of waits for them, in the order of arrival, for up to
`wait_s`; whoever does not get through in that time is refused and has taken nothing. All that is decided happens
between two awaits, so no other call can come between the question and the hold.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from msgspec import Struct

from policies.accounts import Accounts, Hold
from policies.limits import Crossing, Instant, Refusal, Standing
from policies.refusal import budget_exceeded
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.state.store import Ask
from proxy.types import Amounts, Charge, Reservation


class Waiting(Struct, frozen=True):
    """How long, and how many, calls may wait for the holds of others."""

    wait_s: float = 2.0
    calls_max: int = 1_000


class Listener(Protocol):
    """Is told what people want to know of budgets. Must not wait."""

    def crossed(self, crossing: Crossing) -> None: ...

    def charged(self, charges: tuple[Charge, ...]) -> None: ...


class Budgets:
    def __init__(self, accounts: Accounts, clock: Clock, listener: Listener, waiting: Waiting | None = None) -> None:
        self.accounts = accounts
        self.waiting = 0  # calls
        self._clock = clock
        self._listener = listener
        self._bounds = waiting or Waiting()
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}  # by the account that is waited for

    def __repr__(self) -> str:
        return f"Budgets({self.accounts!r}, waiting={self.waiting})"

    @property
    def live(self) -> int:
        """Holds that have not ended."""
        return self.accounts.live

    def left(self, path: tuple[str, ...]) -> int | None:
        return self.accounts.left(path, "usd", at=self._at())

    def standing(self, account: str) -> tuple[Standing, ...]:
        return self.accounts.state(account, at=self._at())

    async def reserve(self, id: str, path: tuple[str, ...], ask: Ask, *, ttl_s: float) -> Reservation | ProxyError:
        line = self._line_ahead(path)
        answer = None if line else self._try(id, path, ask, ttl_s)
        if answer is None or (isinstance(answer, Refusal) and answer.only_held):
            account = line or _held_by(answer)
            answer = await self._in_line(account, id, path, ask=ask, ttl_s=ttl_s)
        if isinstance(answer, Refusal):
            return budget_exceeded(answer)
        return answer

    async def extend(self, reservation: Reservation, total: Amounts) -> Reservation | ProxyError:
        answer = self.accounts.extend(reservation.id, total, wall=self._clock.wall())
        if answer is None:
            return ProxyError("internal", "The hold of this call had ended before it could be raised.")
        if isinstance(answer, Refusal):
            return budget_exceeded(answer)
        return _reservation(answer)

    def post(self, reservation: Reservation, used: Amounts) -> tuple[Charge, ...]:
        posting = self.accounts.post(reservation.id, used)
        if posting is None:
            return ()
        for crossing in posting.crossings:
            self._listener.crossed(crossing)
        if posting.charges:
            self._listener.charged(posting.charges)
        self._released(reservation.path)
        return posting.charges

    def void(self, reservation: Reservation) -> None:
        if self.accounts.void(reservation.id):
            self._released(reservation.path)

    # --- waiting for the holds of others -----------------------------------------------------------------------------

    def _try(self, id: str, path: tuple[str, ...], ask: Ask, ttl_s: float) -> Reservation | Refusal:
        at = self._at()
        amounts = ask(self.accounts.left(path, "usd", at=at))
        answer = self.accounts.reserve(id, path, draw=amounts, at=at, ttl_s=ttl_s)
        return answer if isinstance(answer, Refusal) else _reservation(answer)

    def _line_ahead(self, path: tuple[str, ...]) -> str | None:
        """The account of the path that others wait for already: whoever comes later stands behind them."""
        if not self._lines:
            return None
        return next((account for account in path if account in self._lines), None)

    async def _in_line(
        self, account: str, id: str, path: tuple[str, ...], *, ask: Ask, ttl_s: float
    ) -> Reservation | Refusal:
        """Waits for its turn and tries, until it gets through, may not, or its time is over."""
        if self.waiting >= self._bounds.calls_max or self._bounds.wait_s <= 0:
            return self._try(id, path, ask, ttl_s)
        until, first = self._clock.now() + self._bounds.wait_s, True
        self.waiting += 1
        try:
            while await self._turn(account, until, first=first):  # ends: by the answer, or when the time is over
                answer = self._try(id, path, ask, ttl_s)
                if isinstance(answer, Refusal) and answer.only_held:
                    account, first = _held_by(answer), False
                    continue
                self._wake(account)  # there may be room for the next one as well
                return answer
            return self._try(id, path, ask, ttl_s)
        finally:
            self.waiting -= 1

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
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave(account, turn)
                self._wake(account)  # the turn was ours and is the next one's
            raise
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

    def _released(self, path: tuple[str, ...]) -> None:
        if self._lines:
            for account in path:
                self._wake(account)

    def _wake(self, account: str) -> None:
        line = self._lines.get(account)
        if line and not line[0].done():
            line[0].set_result(None)

    def _at(self) -> Instant:
        return Instant(self._clock.now(), self._clock.wall())


def _held_by(refusal: Refusal | None) -> str:
    assert refusal is not None  # a call that is not in anyone's way has been answered
    return refusal.shortfalls[0].period.account


def _reservation(hold: Hold) -> Reservation:
    return Reservation(hold.id, hold.path, hold.draw, hold.expires_at)
