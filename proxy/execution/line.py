"""Who is next at a target that has no room: the line of waiting calls, apart from the room itself.

`Permits` asks only what `Line` promises, so another order (by share of each agent, by priority) is another class here
and one argument there. A line never gives leave and knows no clock.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from proxy.types import Call


class Queueing(Struct, frozen=True):
    """How long, and how many, calls may stand in all lines of one kind."""

    wait_s: float = 10.0
    calls_max: int = 1_000


class Claim(Struct, frozen=True):
    """What a call asks of a target: whose call it is and its deadline stand in `call`."""

    call: Call
    tokens: int = 0  # input and output, as estimated; 0: nobody counts them


class Ticket:
    """One call's place in a line."""

    __slots__ = ("claim",)

    def __init__(self, claim: Claim) -> None:
        self.claim = claim


T = TypeVar("T", bound=Ticket)


class Line(Protocol[T]):
    """`first` is asked again whenever somebody may go; its answer may change until it is removed."""

    def __len__(self) -> int: ...

    def add(self, ticket: T) -> None: ...

    def first(self) -> T:
        """Of a line that is not empty."""
        ...

    def remove(self, ticket: T) -> None:
        """It got its permit, or it left."""
        ...


class Fifo(Generic[T]):
    """In the order of arrival."""

    def __init__(self) -> None:
        self._tickets: deque[T] = deque()

    def __repr__(self) -> str:
        return f"Fifo({len(self._tickets)})"

    def __len__(self) -> int:
        return len(self._tickets)

    def add(self, ticket: T) -> None:
        self._tickets.append(ticket)

    def first(self) -> T:
        return self._tickets[0]

    def remove(self, ticket: T) -> None:
        if self._tickets[0] is ticket:
            self._tickets.popleft()
        else:
            self._tickets.remove(ticket)
