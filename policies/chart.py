"""What one path of accounts meets: its limits from the top down, and the windows of them that are open.

Resolved once by `policies.roster` and remembered; a hold keeps the windows it was taken in, whatever opens after them.
Whether they admit anything is decided by `policies.accounts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from operator import itemgetter
from typing import Final

from msgspec import Raw, Struct

from policies.meter import Balance, Common, Meter
from proxy.holds import Left
from proxy.types import Per, Period, Unit

RUN: Final = "run:"
EASED: Final = (0, 1, 5)  # indices of money, tokens and soft money
MONEY: Final = (0, 5)

Key = tuple[str, Unit, Per]  # carrier first
Pick = Callable[[Sequence[int]], tuple[int, ...]]


class Account:
    __slots__ = ("gone", "holds", "meters", "name", "used_at")

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.meters: dict[Key, Meter] = {}
        self.holds = 0
        self.used_at = now
        self.gone = False

    def __repr__(self) -> str:
        return f"Account({self.name}, holds={self.holds}, {list(self.meters.values())})"

    @property
    def busy(self) -> bool:
        """Something is held of it, by a call or by another process."""
        return self.holds > 0 or any(meter.balance.pending for meter in self.meters.values())

    def blank(self, wall: float) -> bool:
        """Nothing would be lost: every open window is empty."""
        balances = [meter.at(wall) for meter in self.meters.values()]
        return not any(balance.used or balance.granted for balance in balances)


def _nothing(needs: Sequence[int]) -> tuple[int, ...]:
    return ()


class Windows(Struct, frozen=True):
    """What is open on a path at one time, side by side: a hold is taken in all of it, and ends in the same."""

    accounts: tuple[Account, ...] = ()
    balances: tuple[Balance, ...] = ()
    periods: tuple[Period, ...] = ()  # theirs
    names: tuple[Raw, ...] = ()  # of the periods
    pick: Pick = _nothing  # what each of them needs, out of `Amounts.by_index`


class Chart:
    """What a path meets on its way down, and the windows that are open there until one of them ends, or is found to
    have ended earlier: a clock set back opens nothing again."""

    __slots__ = ("accounts", "demands", "eased", "meters", "money", "runs", "seen_gone", "turns", "until", "windows")

    def __init__(self, accounts: tuple[Account, ...] = (), meters: tuple[Meter, ...] = (), *, demands: Left) -> None:
        self.accounts = accounts
        self.runs = tuple([account for account in accounts if account.name.startswith(RUN)])
        self.meters = meters
        self.demands = demands
        self.turns = self.seen_gone = -1  # none yet
        self.until = inf
        self.windows = Windows()
        self.money: tuple[Balance, ...] = ()
        self.eased: tuple[Balance, ...] = ()  # in money and tokens

    def __repr__(self) -> str:
        return f"Chart({self.windows.balances})"

    def open(self, wall: float, common: Common) -> None:
        balances = tuple([meter.at(wall) for meter in self.meters])
        self.windows = Windows(
            self.accounts,
            balances,
            periods=tuple([balance.period for balance in balances]),
            names=tuple([balance.name for balance in balances]),
            pick=_picker([balance.index for balance in balances]),
        )
        self.money = tuple([balance for balance in balances if balance.index in MONEY])
        self.eased = tuple([balance for balance in balances if balance.index in EASED])
        self.until = min([balance.resets_wall for balance in balances], default=inf)
        self.turns = common.turns


def _picker(indices: list[int]) -> Pick:
    """Of several at once; of one, `itemgetter` would make no tuple."""
    if len(indices) > 1:
        return itemgetter(*indices)
    return lambda needs: tuple([needs[index] for index in indices])
