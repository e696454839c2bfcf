"""Balances out of the ledger: a sum over its rows, from the last checkpoint on.

A balance is what a checkpoint says of a period, plus the charges of later calls and the changes of later events. All
of these are differences, so their order does not matter; a period that no checkpoint and no row names has nothing.
Which of these balances still count (whose window is open, whose limit exists) is not known here.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeVar

from msgspec import DecodeError, Struct, field, json

from proxy.errors import ProxyError
from proxy.state.events import COUNTED, Change, Changes, Checkpoint, TopUp, charged, charges_of
from proxy.types import Period

ASKED_AT_ONCE: Final = 500  # ids in one statement
TOPUPS_MAX: Final = 4_096

T = TypeVar("T")

_CHANGES: Final = json.Decoder(Changes)
_CHECKPOINT: Final = json.Decoder(Checkpoint)
_TOPUP: Final = json.Decoder(TopUp)


class Sums(Struct):
    """As `policies.limits.Totals`, and still being added to."""

    spent: int = 0
    overrun: int = 0
    unresolved: int = 0
    granted: int = 0
    forgiven: int = 0

    def add(self, change: Change) -> None:
        self.spent += change.spent
        self.overrun += change.overrun
        self.unresolved += change.unresolved
        self.granted += change.granted
        self.forgiven += change.forgiven


class Fold(Struct):
    """`since`: the row of the last checkpoint that is whole. `through`: up to which row it has each of its periods."""

    since: int = 0
    through: dict[Period, int] = field(default_factory=dict)
    balances: dict[Period, Sums] = field(default_factory=lambda: defaultdict(Sums))


def fold(connection: sqlite3.Connection, until: Mapping[Period, int] | None = None) -> Fold:
    """Of every period; or of those in `until`, up to the row that it names. Raises ProxyError for a damaged file."""
    found = _checkpoint(connection)
    for seq, change in _changes(connection, found.since):
        period = change.period
        if seq > found.through.get(period, found.since) and (until is None or seq <= until.get(period, -1)):
            found.balances[period].add(change)
    return found


def ended(connection: sqlite3.Connection, ids: Iterable[str]) -> set[str]:
    """Which of these calls have an end in the ledger: a row of their own, or an event that expired their hold."""
    found: set[str] = set()
    asked = list(ids)
    for first in range(0, len(asked), ASKED_AT_ONCE):
        some = asked[first : first + ASKED_AT_ONCE]
        marks = ", ".join("?" * len(some))
        for query in (
            f"SELECT request_id FROM outcome WHERE request_id IN ({marks})",  # noqa: S608
            f"SELECT subject FROM event WHERE kind IN ('expire', 'unresolved') AND subject IN ({marks})",  # noqa: S608
        ):
            found.update(id for (id,) in connection.execute(query, some))
    return found


def topups(connection: sqlite3.Connection) -> list[TopUp]:
    """The last ones, oldest first, so that a repeat of their ids is known."""
    query = f"SELECT seq, body FROM event WHERE kind = 'topup' ORDER BY seq DESC LIMIT {TOPUPS_MAX}"  # noqa: S608
    rows = connection.execute(query).fetchall()
    return [_decoded(_TOPUP.decode, seq, body) for seq, body in reversed(rows)]


def _checkpoint(connection: sqlite3.Connection) -> Fold:
    query = "SELECT seq, body FROM event WHERE kind = 'checkpoint' AND subject = '' ORDER BY seq DESC"
    found, whole = Fold(), None
    for seq, body in connection.execute(query):
        part = _decoded(_CHECKPOINT.decode, seq, body)
        if whole is None and not part.last:
            continue  # of a set that was not brought to its end
        if whole is not None and part.set != whole:
            break
        whole = found.since = part.set
        for change in part.balances:
            period = change.period
            found.balances[period].add(change)
            found.through[period] = part.through
    return found


def _changes(connection: sqlite3.Connection, after: int) -> Iterator[tuple[int, Change]]:
    calls = "SELECT seq, charges FROM outcome WHERE seq > ? AND charges IS NOT NULL"
    for seq, text in connection.execute(calls, [after]):
        for change in charged(_decoded(charges_of, seq, text)):
            yield seq, change
    kinds = ", ".join("?" * len(COUNTED))
    events = f"SELECT seq, body FROM event NOT INDEXED WHERE seq > ? AND kind IN ({kinds})"  # noqa: S608
    for seq, text in connection.execute(events, [after, *COUNTED]):
        for change in _decoded(_CHANGES.decode, seq, text).changes:
            yield seq, change


def _decoded(decode: Callable[[str], T], seq: int, text: str) -> T:
    try:
        return decode(text)
    except DecodeError as error:
        message = f"row {seq} of the ledger is damaged ({error}): restore the ledger from a backup"
        raise ProxyError("ledger_unavailable", message) from None
