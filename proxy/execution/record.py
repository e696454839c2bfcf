"""What has happened to one call so far. `serve` makes it, the readers of upstreams write to it, `finish` reads it.

It is the call's only mutable state; nothing outside the call's own task touches it, but for a named task that took
over an abandoned exchange.
"""

from __future__ import annotations

from typing import Protocol

from policies.settle import Ending
from proxy.errors import ProxyError
from proxy.execution.purse import Purse
from proxy.execution.reading import Reading
from proxy.money.rate_limits import Quota
from proxy.pressure import Pressure
from proxy.types import AbortRule, Attempt, Call, Gaps, Plan, ServedBy


class Unended(Protocol):
    """An attempt that has been begun and must be ended: see `attempt.Exchange`."""

    reading: Reading | None

    @property
    def abort(self) -> AbortRule: ...

    async def end(self, ending: Ending, error: ProxyError | None = None) -> None: ...


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
        "in_events",
        "last_event_at",
        "open",
        "plan",
        "pressure",
        "purse",
        "quota",
        "served_by",
        "status",
        "upstream_s",
    )

    def __init__(self, call: Call, purse: Purse) -> None:
        self.call = call
        self.purse = purse
        self.quota: Quota | None = None  # where rate limits stand over the call
        self.plan: Plan | None = None
        self.pressure: Pressure | None = None  # of its budgets, before it was planned
        self.attempts: list[Attempt] = []
        self.open: list[Unended] = []  # in order of beginning
        self.status = 0
        self.error: ProxyError | None = None
        self.served_by: ServedBy = "none"
        self.upstream_s = 0.0
        self.first_event_at: float | None = None
        self.last_event_at: float | None = None
        self.gaps: Gaps | None = None
        self.bytes_out = 0
        self.committed = False  # a byte of the reply has gone to the client
        self.in_events = False  # the committed reply is an event stream
        self.delivered = False  # all of the reply has gone to the client
        self.client_gone = False

    def close(self) -> None:
        """Nothing is held any more, neither money nor a place among the running calls. The second time: nothing."""
        self.purse.close()
        if self.quota is not None:
            self.quota.end(self.attempts)

    def __repr__(self) -> str:
        return f"Record({self.call.id}, {len(self.attempts)} ended, {len(self.open)} open, status={self.status})"
