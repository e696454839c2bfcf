"""What the ledger records beside calls, and the form of it that balances are computed from.

An event is a kind, a subject and a body. Bodies of the kinds in `COUNTED` have `changes`: what the event adds to the
totals of some periods. They are differences, as the charges of calls are, so the order in which rows are added up does
not matter and the balance of a period is a plain sum. A `checkpoint` is such a sum, up to a row that it names.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct, ValidationError, json

from proxy.types import Charge, Per, Period, Unit

_CHARGES: Final = json.Decoder(tuple[Charge, ...])
_FLAT_CHARGES: Final = json.Decoder(tuple[tuple[str, Unit, Per, int, str, int, int], ...])
COUNTED: Final = ("expire", "unresolved", "topup", "adjust")


class Event(Struct, frozen=True):
    """One row of the table `event`; `body` is JSON."""

    at_ms: int
    kind: str
    subject: str
    body: str


class Change(Struct, frozen=True, array_like=True):
    """What is added to the totals of one period."""

    account: str
    unit: Unit
    per: Per
    id: int
    carrier: str
    spent: int = 0
    overrun: int = 0
    unresolved: int = 0
    granted: int = 0
    forgiven: int = 0

    @property
    def period(self) -> Period:
        return Period(self.account, self.unit, self.per, self.id, self.carrier)

    @property
    def counts(self) -> bool:
        return bool(self.spent or self.overrun or self.unresolved or self.granted or self.forgiven)


class Changes(Struct, frozen=True):
    """The part of a body that counts; whatever else stands there is for people."""

    changes: tuple[Change, ...] = ()


class Expired(Struct, frozen=True):
    """Body of `expire`: a hold that nobody ended, whose subject is the call's id."""

    why: Literal["crash", "time"]
    path: tuple[str, ...]
    held_wall: float | None  # when it was taken
    changes: tuple[Change, ...]
    held_usd_nanos: int | None = None  # all of it, where less was charged: its last mark


class TopUp(Struct, frozen=True):
    """Body of `topup`, whose subject is the account. `id` makes a repeat harmless."""

    id: str
    unit: Unit
    amount: int
    changes: tuple[Change, ...]
    by: str = ""


class Adjusted(Struct, frozen=True):
    """Body of `adjust`, whose subject is the call: an attempt of it has turned out to cost more or less than its row
    says. Without `attempt`: a call whose end was unknown."""

    id: str
    bill: str
    attempt: int | None
    usd_nanos: int  # the difference
    changes: tuple[Change, ...]  # of windows that were open
    by: str = ""


class Checkpoint(Struct, frozen=True):
    """Body of `checkpoint`: a part of all balances. Parts of one set are taken one after another, each as of its own
    row; what is in none of them has nothing up to the first row, which names the set."""

    set: int
    through: int  # these balances hold the rows up to here
    last: bool  # the set is whole
    balances: tuple[Change, ...]


def change(period: Period, **totals: int) -> Change:
    return Change(period.account, period.unit, period.per, period.id, period.carrier, **totals)


def charges_of(text: str) -> tuple[Charge, ...]:
    """Out of a call's row. Raises msgspec.DecodeError.

    Ledgers of before 2026-11-23 have one list a charge: the members of its period, the amount, the overrun."""
    try:
        return _CHARGES.decode(text)
    except ValidationError:
        return tuple([Charge(Period(*flat[:5]), *flat[5:]) for flat in _FLAT_CHARGES.decode(text)])


def charged(charges: Iterable[Charge]) -> tuple[Change, ...]:
    """What charges add: the part that was overrun is no part of what was spent."""
    return tuple(change(each.period, spent=each.amount - each.overrun, overrun=each.overrun) for each in charges)


def text(body: object) -> str:
    return json.encode(body).decode()
