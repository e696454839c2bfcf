"""Holds as a journal has them: what a call keeps back of each limit, and what it would cost if the process died now.

A hold stands there before its call is sent, and again whenever it is raised. Marks follow while its output is relayed,
where closing the connection ends the bill: each speaks of a little more than the client can have by the next one, so
that none has to be written for a chunk and what was relayed is never more than was marked. Who finds a hold without an
end charges its last mark, or all of it where there is none. What that does to accounts is its finder's matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct, msgpack
from msgspec.structs import replace

from proxy.state.events import Change, Expired
from proxy.types import Amounts, Per, Period, Unit

HELD: Final = 4  # kinds of records; 2 is a worker's settlement
HELD_BEFORE: Final = 1  # until 2026-11-23; read, so that a gate that was killed may be started again as a newer one
MARKED: Final = 3

Name = tuple[str, Unit, Per, int, str]  # of a period (`policies.limits.name_of`)


class HoldRecord(Struct, frozen=True, array_like=True):
    id: str
    wall: float
    path: tuple[str, ...]
    names: tuple[Name, ...]
    taken: tuple[int, ...]  # of each of them
    mark: Mark | None = None

    def due(self) -> Iterator[tuple[Period, int]]:
        """What each limit is charged by who does not know how the call ended. A slot is given back in any case."""
        for name, amount in zip(self.names, self.taken, strict=True):
            of = Period(*name)
            if self.mark is not None and of.unit in ("usd", "tokens"):
                amount = min(amount, self.mark.usd_nanos if of.unit == "usd" else self.mark.tokens)
            if of.unit != "concurrency" and amount:
                yield of, amount

    def changes(self) -> tuple[Change, ...]:
        """The same, as unresolved."""
        return tuple(
            Change(of.account, of.unit, of.per, of.id, of.carrier, unresolved=amount) for of, amount in self.due()
        )

    def held_usd_nanos(self) -> int:
        each = zip(self.names, self.taken, strict=True)
        return max((amount for name, amount in each if name[1] == "usd"), default=0)


class HoldBefore(Struct, frozen=True, array_like=True):
    id: str
    wall: float
    path: tuple[str, ...]
    taken: tuple[tuple[Name, int], ...]

    def now(self) -> HoldRecord:
        names, taken = tuple([name for name, _ in self.taken]), tuple([amount for _, amount in self.taken])
        return HoldRecord(self.id, self.wall, self.path, names, taken)


class Mark(Struct, frozen=True, array_like=True):
    id: str
    usd_nanos: int
    tokens: int


_ENCODE: Final = msgpack.Encoder().encode
_HOLD: Final = msgpack.Decoder(HoldRecord).decode
_HOLD_BEFORE: Final = msgpack.Decoder(HoldBefore).decode
_MARK: Final = msgpack.Decoder(Mark).decode


def expired(record: HoldRecord, changes: tuple[Change, ...]) -> Expired:
    """The event that a crash ended this hold."""
    held = record.held_usd_nanos() if record.mark is not None else None
    return Expired("crash", record.path, record.wall, changes, held)


def mark(id: str, reached: Amounts) -> bytes:
    """The payload of a record MARKED."""
    return _ENCODE((id, reached.usd_nanos, reached.tokens))


def holds(records: Iterable[tuple[int, bytes]]) -> dict[str, HoldRecord]:
    """By the ids of their calls, each as it was raised last and with its last mark. Raises DecodeError."""
    found: dict[str, HoldRecord] = {}
    marks: dict[str, Mark] = {}
    for kind, payload in records:
        if kind in (HELD, HELD_BEFORE):
            record = _HOLD(payload) if kind == HELD else _HOLD_BEFORE(payload).now()
            found[record.id] = record
        elif kind == MARKED:
            marked = _MARK(payload)
            marks[marked.id] = marked
    for id, marked in marks.items():
        if id in found:
            found[id] = replace(found[id], mark=marked)
    return found
