"""What has happened to one call so far. `serve` makes it, the readers of upstreams write to it, `finish` reads it.

It is the call's only mutable state; nothing outside the call's own task touches it, but for a named task that took
over an abandoned exchange.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.errors import ProxyError
from proxy.types import Attempt, Call, Gaps, Plan, ServedBy

if TYPE_CHECKING:
    from proxy.execution.attempt import Exchange


class Record:
    __slots__ = (
        "attempts",
        "bytes_out",
        "call",
        "client_gone",
        "committed",
        "delivered",
        "error",
        "first_event_at",
        "gaps",
        "last_event_at",
        "open",
        "plan",
        "served_by",
        "status",
        "upstream_s",
    )

    def __init__(self, call: Call) -> None:
        self.call = call
        self.plan: Plan | None = None
        self.attempts: list[Attempt] = []
        self.open: list[Exchange] = []  # exchanges begun and not yet ended
        self.status = 0
        self.error: ProxyError | None = None
        self.served_by: ServedBy = "none"
        self.upstream_s = 0.0
        self.first_event_at: float | None = None
        self.last_event_at: float | None = None
        self.gaps: Gaps | None = None
        self.bytes_out = 0
        self.committed = False  # a byte of the reply has gone to the client
        self.delivered = False  # all of the reply has gone to the client
        self.client_gone = False

    def __repr__(self) -> str:
        return f"Record({self.call.id}, {len(self.attempts)} ended, {len(self.open)} open, status={self.status})"
