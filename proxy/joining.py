"""A stream for a client that asked again while its first request was still being answered: from the first byte on, then
as it goes on.

It has its own deadline, its own patience with its client and its own heartbeats; silence of the upstream is the
business of the call that was joined.
"""

from __future__ import annotations

from math import inf

from proxy import headers
from proxy.clock import Clock
from proxy.execution.following import Following
from proxy.execution.record import Record
from proxy.relay import Downstream, Patience, Watch, relay
from proxy.snapshot import Limits


async def follow(following: Following, record: Record, *, downstream: Downstream, limits: Limits, clock: Clock) -> None:
    """Raises ProxyError where the joined call breaks off, ConnectionError where this client cannot keep up."""
    shown = headers.of_reply(record, following, following, clock.now())
    record.in_events = following.passage is not None
    patience = Patience(inf, limits.write_timeout_s, limits.heartbeat_s)
    watch = Watch(record.call, patience, downstream, in_events=record.in_events)
    await relay((following, following), downstream, record, headers=shown, watch=watch, clock=clock)
    record.delivered = True
    await following.end("complete")
