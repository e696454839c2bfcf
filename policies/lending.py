"""How much of an account is lent to one slot (a process that serves), and what becomes of it.

What is lent counts as held in the owner's books, so at each grant S + V + U + P <= C, with every lease a part of P.
It leaves P when it is returned, or becomes S (and what exceeded it, V) when a settlement arrives. Near the end of a
limit nothing is lent in advance: then each call is the owner's decision. The other side is `policies.leases`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from policies.accounts import Accounts
from policies.chart import Account
from policies.leases import CLOSED, Returned, Terms, Used, Wanted
from policies.limits import Crossing, Posting
from policies.meter import Balance
from proxy.types import Charge, Period

SHARE_MAX: Final = 8  # one lease is at most the eighth part of its limit
END_SHARE: Final = 50  # the last fiftieth of a limit is given out call by call
CALLS_AHEAD: Final = 4  # a limit on concurrency below so many a slot as well


def ahead(balance: Balance, wanted: Wanted, *, slots: int) -> int:
    """What may be lent beyond the call that asks. 0: the owner decides each call."""
    left = 0 if balance.blocked else balance.free
    if left < max(2 * slots * wanted.typical, balance.limit // END_SHARE):
        return 0
    if balance.period.unit == "concurrency" and balance.limit < CALLS_AHEAD * slots:
        return 0
    return min(wanted.ahead, left // (2 * slots), balance.limit // SHARE_MAX)


class Lent:
    """One lease as the owner sees it."""

    __slots__ = ("account", "amount", "balance", "number")

    def __init__(self, number: int, balance: Balance, account: Account) -> None:
        self.number = number
        self.balance = balance
        self.account = account
        self.amount = 0

    def __repr__(self) -> str:
        return f"Lent({self.number}, {self.amount} of {self.balance!r})"


class Lending:
    """The leases of one slot. A slot that has died is closed, and its successor begins with nothing."""

    def __init__(self, accounts: Accounts, *, slots: int) -> None:
        self._accounts = accounts
        self._slots = slots
        self._by_number: dict[int, Lent] = {}
        self._by_period: dict[Period, Lent] = {}
        self._last = 0

    def __repr__(self) -> str:
        return f"Lending({list(self._by_number.values())})"

    def lend(self, hold_id: str, wanted: Mapping[int, Wanted]) -> tuple[Terms, ...]:
        """A hold that the accounts have just admitted becomes the slot's, with something ahead where there is much."""
        hold = self._accounts.hand_over(hold_id)
        named = {account.name: account for account in hold.windows.accounts}
        lent: list[Terms] = []
        for balance, amount in zip(hold.windows.balances, hold.taken, strict=True):
            lease = self._lease(balance, named[balance.period.account])
            wish = wanted.get(lease.number) or Wanted(lease.number, amount, 2 * amount)
            more = ahead(balance, wish, slots=self._slots)
            balance.free -= more
            lease.amount += amount + more
            lent.append(_terms(lease, amount + more, exact=not more))
        return tuple(lent)

    def renew(self, wanted: Iterable[Wanted], wall: float) -> tuple[Terms, ...]:
        lent: list[Terms] = []
        for wish in wanted:
            lease = self._by_number.get(wish.number)
            if lease is not None:
                balance = lease.balance
                more = ahead(balance, wish, slots=self._slots) if wall < balance.resets_wall else 0
                balance.free -= more
                lease.amount += more
                lent.append(_terms(lease, more, exact=not more))
        return tuple(lent)

    def take_back(self, returned: Iterable[Returned]) -> tuple[str, ...]:
        """Returns the accounts that have more room now."""
        names: dict[str, None] = {}
        for number, amount in returned:
            lease = self._by_number.get(number)
            if lease is None:
                continue
            if amount == CLOSED:
                self._drop(lease)
            else:
                amount = min(amount, lease.amount)
                lease.amount -= amount
                lease.balance.free += amount
                names[lease.balance.period.account] = None
        return tuple(names)

    def settle(self, used: Iterable[Used]) -> Posting:
        charges: list[Charge] = []
        crossings: list[Crossing] = []
        overruns: list[Charge] = []
        for number, amount in used:
            lease = self._by_number.get(number)
            if lease is not None:
                covered = min(amount, lease.amount)
                lease.amount -= covered
                overrun = lease.balance.post(covered, amount)
                charges.append(Charge(lease.balance.period, amount, overrun))
                if overrun:
                    overruns.append(charges[-1])
                if lease.balance.used >= lease.balance.mark:
                    crossings += lease.balance.crossings()
        return Posting(tuple(charges), tuple(crossings), tuple(overruns))

    def numbers(self, accounts: frozenset[str]) -> tuple[int, ...]:
        """The leases on these accounts that hold something."""
        return tuple(
            [lease.number for lease in self._by_number.values() if lease.amount and lease.account.name in accounts]
        )

    def number_of(self, period: Period) -> int | None:
        lease = self._by_period.get(period)
        return None if lease is None else lease.number

    def close(self) -> tuple[str, ...]:
        """The slot is dead and all it had to settle has been settled: the rest is nobody's any more."""
        names = tuple({lease.account.name: None for lease in self._by_number.values()})
        for lease in list(self._by_number.values()):
            lease.balance.free += lease.amount
            lease.amount = 0
            self._drop(lease)
        return names

    def _lease(self, balance: Balance, account: Account) -> Lent:
        lease = self._by_period.get(balance.period)
        if lease is None or lease.balance is not balance:
            self._last += 1
            lease = Lent(self._last, balance, account)
            account.holds += 1  # an account that is lent is not forgotten
            self._by_number[lease.number] = self._by_period[balance.period] = lease
        return lease

    def _drop(self, lease: Lent) -> None:
        if lease.amount:  # cannot be, but money is not lost for it
            lease.balance.free += lease.amount
        lease.account.holds -= 1
        del self._by_number[lease.number]
        if self._by_period.get(lease.balance.period) is lease:
            del self._by_period[lease.balance.period]


def _terms(lease: Lent, amount: int, *, exact: bool) -> Terms:
    balance = lease.balance
    return Terms(lease.number, balance.period, balance.index, balance.resets_wall, amount, exact)
