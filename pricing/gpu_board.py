"""Where the time of one engine is counted: how much of it was busy, and what a request's n-th part of it has come to.

One integral over dt / n(t) serves every request, so a beginning and an end are O(1) however many run. A process that
is alone keeps the count to itself (`OwnBoard`); several that send to one engine share it, so that n(t) is what all of
them run there (`proxy.money.shared_board`). What a second costs is `pricing.gpu`'s matter.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct


class GpuTime(Struct):
    """Until the instant `at`, of the caller's monotonic clock."""

    at: float
    integral_s: float = 0.0  # of dt / n(t), over the time in which something ran
    busy_s: float = 0.0
    charged_usd_nanos: int = 0  # to requests
    since: float = 0.0  # the beginning of the stretch whose idle time is spread over requests
    since_busy_s: float = 0.0  # what was busy before that
    in_flight: int = 0

    def advance(self, now: float) -> None:
        if self.in_flight and now > self.at:
            self.busy_s += now - self.at
            self.integral_s += (now - self.at) / self.in_flight
        self.at = max(now, self.at)


class Board(Protocol):
    def step(self, now: float, *, change: int = 0, charged: int = 0) -> GpuTime:
        """The time until now; from now on `change` more requests run, and so many nano-dollars more are charged."""
        ...

    def spread_since(self, since: float, busy_s: float) -> None:
        """Idle time before that instant, until which so much was busy, is spread over requests no more."""
        ...

    @property
    def in_flight(self) -> int: ...


class OwnBoard:
    """Of a process that is alone."""

    def __init__(self, now: float) -> None:
        self._time = GpuTime(now, since=now)

    def __repr__(self) -> str:
        return f"OwnBoard({self._time})"

    @property
    def in_flight(self) -> int:
        return self._time.in_flight

    def step(self, now: float, *, change: int = 0, charged: int = 0) -> GpuTime:
        """What it returns goes on being true: it is not a copy."""
        time = self._time
        time.advance(now)
        time.in_flight += change
        time.charged_usd_nanos += charged
        return time

    def spread_since(self, since: float, busy_s: float) -> None:
        self._time.since, self._time.since_busy_s = since, busy_s
