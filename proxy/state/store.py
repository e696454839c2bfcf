"""The store of accounts: reserve before anything is sent, settle exactly once afterwards.

`MemoryStore` is the in-process store of `workers: 1`. It keeps what is held and what is posted on every account of a
path; it knows no limits. Both calls are atomic because nothing in them awaits.
"""

from __future__ import annotations

from typing import Protocol

from proxy.errors import ProxyError
from proxy.types import Amounts, Reservation


class Store(Protocol):
    async def reserve(
        self, id: str, path: tuple[str, ...], amounts: Amounts, expires_at: float
    ) -> Reservation | ProxyError: ...

    async def settle(self, reservation: Reservation, used: Amounts) -> None:
        """Ends the hold. `used` is what was really spent; zero voids it. A second settlement of one id is ignored."""
        ...


class Account:
    """Sums of one account, in nano-dollars and tokens."""

    __slots__ = ("held_tokens", "held_usd_nanos", "posted_tokens", "posted_usd_nanos")

    def __init__(self) -> None:
        self.held_usd_nanos = 0
        self.held_tokens = 0
        self.posted_usd_nanos = 0
        self.posted_tokens = 0

    def __repr__(self) -> str:
        held, posted = (self.held_usd_nanos, self.held_tokens), (self.posted_usd_nanos, self.posted_tokens)
        return f"Account({held=}, {posted=})"


class MemoryStore:
    """Accounts in this process. Bounded: an account that holds nothing and is the oldest goes first."""

    def __init__(self, accounts_max: int = 100_000) -> None:
        self._accounts: dict[str, Account] = {}
        self._live: dict[str, Reservation] = {}
        self._accounts_max = accounts_max

    @property
    def live(self) -> int:
        """Reservations neither settled nor voided."""
        return len(self._live)

    def account(self, name: str) -> Account:
        account = self._accounts.get(name)
        if account is None:
            if len(self._accounts) >= self._accounts_max:
                self._drop_oldest_idle()
            account = self._accounts[name] = Account()
        return account

    async def reserve(
        self, id: str, path: tuple[str, ...], amounts: Amounts, expires_at: float
    ) -> Reservation | ProxyError:
        if id in self._live:
            return self._live[id]
        reservation = Reservation(id=id, path=path, amounts=amounts, expires_at=expires_at)
        for name in path:
            account = self.account(name)
            account.held_usd_nanos += amounts.usd_nanos
            account.held_tokens += amounts.tokens
        self._live[id] = reservation
        return reservation

    async def settle(self, reservation: Reservation, used: Amounts) -> None:
        if self._live.pop(reservation.id, None) is None:
            return
        for name in reservation.path:
            account = self.account(name)
            account.held_usd_nanos -= reservation.amounts.usd_nanos
            account.held_tokens -= reservation.amounts.tokens
            account.posted_usd_nanos += used.usd_nanos
            account.posted_tokens += used.tokens

    def _drop_oldest_idle(self) -> None:
        for name, account in self._accounts.items():
            if account.held_usd_nanos == 0 and account.held_tokens == 0:
                del self._accounts[name]
                return
