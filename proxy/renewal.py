"""A call that nobody waits for: it fetches a new answer while the old one is still being served.

It is its agent's call like any other, with its budgets, its limits and its row in the ledger, but goes after others.
"""

from __future__ import annotations

from msgspec import structs

from proxy.clock import Clock
from proxy.execution.flight import Flight
from proxy.relay import Headers
from proxy.reuse import Reuse
from proxy.types import Call

FRESH = Reuse(read=False)


def renewal(call: Call, clock: Clock) -> Call:
    now = clock.now()
    return structs.replace(
        call,
        id=clock.id(),
        # Nobody's steps are spent on it.
        identity=structs.replace(call.identity, run=None, parent_run=None, agent_source="gate"),
        cause=call.id,
        origin=made_because_of(call),
        arrived_at=now,
        arrived_wall=clock.wall(),
        deadline=now + (call.deadline - call.arrived_at),
        client_retry=0,
        priority="batch",
        hedged=False,
        reuse=FRESH,
    )


def made_because_of(call: Call) -> str:
    return f"made by the gate itself because of request {call.id}; no client hears it"


class Nobody:
    """The downstream of such a call."""

    left = False

    def __init__(self) -> None:
        self._flight: Flight | None = None

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """It is kept where it comes from."""

    async def start(self, status: int, headers: Headers) -> None:
        """There is nobody to begin with."""

    async def write(self, data: bytes) -> None:
        if self._flight is not None:
            self._flight.keep(data)

    async def end(self) -> None:
        if self._flight is not None:
            self._flight.end()

    def heartbeat(self) -> None:
        """Nobody waits."""

    def abort(self) -> None:
        """Nobody is told."""

    def share(self, flight: Flight | None) -> None:
        self._flight = flight

    def stay(self) -> None:
        """It never leaves."""

    def go(self) -> None:
        """Nor does it wait for anybody."""
