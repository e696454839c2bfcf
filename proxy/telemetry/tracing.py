"""Which calls are traced, and how their spans get to a collector: OTLP over HTTP, in JSON.

Kept are the calls somebody will ask about (errors, hedges, retries and fallbacks, those that were slow for their route)
and a share of the others, drawn by the trace id, so that services that draw the same way keep the same traces. Spans
wait in a bounded queue and are sent in batches by one task; a collector that is slow or dead costs spans, which are
counted, and never a call's time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from msgspec import Struct, json

from proxy.alarm import Alarm
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.providers.base import Transport, UpstreamRequest
from proxy.telemetry.span import Span, add
from proxy.telemetry.spans import Profile, spans
from proxy.types import Outcome

WAITING_MAX: Final = 2_048  # spans
BATCH_MAX: Final = 512
EVERY_S: Final = 1.0
TIMEOUT_S: Final = 5.0
PAUSE_MAX_S: Final = 60.0  # between two tries while the collector is away
REPLY_MAX: Final = 64 * 1024
SLOW_OF: Final = 100  # the slowest of so many are slow
SEEN_MAX: Final = 400  # of each route
ROUTES_MAX: Final = 256
ALWAYS: Final = frozenset({"retry", "hedge", "fallback", "cascade", "quorum"})


Tell = Callable[[str, Callable[[dict[str, str]], None]], bool]  # see `content.keeper.Keeper`


def silent(id: str, then: Callable[[dict[str, str]], None]) -> bool:
    """Where no words are kept."""
    return False


class Collector(Struct, frozen=True):
    """Where spans go. `headers` may hold a credential."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    share: float = 0.05  # of the calls that nothing speaks for
    profiles: tuple[Profile, ...] = ("genai",)
    words: bool = False  # of calls that are kept in full, too

    def __repr__(self) -> str:
        return f"Collector({self.url}, {self.share})"


class Slowness:
    """The slowest hundredth of each route's calls of late."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[float]] = {}
        self._limits: dict[str, float] = {}
        self._count: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"Slowness({self._limits})"

    def is_slow(self, route: str, duration_s: float) -> bool:
        """Counts it, too. Nothing is slow before a hundred were seen."""
        seen = self._seen.get(route)
        if seen is None:
            if len(self._seen) >= ROUTES_MAX:
                return False
            seen = self._seen[route] = deque(maxlen=SEEN_MAX)
        seen.append(duration_s)
        count = self._count[route] = self._count.get(route, 0) + 1
        if count % SLOW_OF == 0:
            self._limits[route] = sorted(seen)[-max(1, len(seen) // SLOW_OF)]
        limit = self._limits.get(route)
        return limit is not None and duration_s > limit


class Tracing:
    """An observer of outcomes; without a collector it does nothing."""

    def __init__(self, clock: Clock, transport: Transport, version: str, tell: Tell = silent) -> None:
        self.collector: Collector | None = None
        self.dropped = 0  # spans
        self.sent = 0
        self._clock = clock
        self._transport = transport
        self._tell = tell
        self._waiting: deque[Span] = deque()
        self._slowness = Slowness()
        self._resource = {
            "attributes": [
                {"key": "service.name", "value": {"stringValue": "headgate"}},
                {"key": "service.version", "value": {"stringValue": version}},
            ]
        }

    def __repr__(self) -> str:
        return f"Tracing({self.collector!r}, {len(self._waiting)} waiting, {self.dropped} dropped)"

    def observe(self, outcome: Outcome) -> None:
        collector = self.collector
        if collector is None or not outcome.call.identity.key_id or not self._keeps(outcome, collector.share):
            return
        found = spans(outcome, collector.profiles)
        if not collector.words or not self._tell(outcome.call.id, partial(self._told, found)):
            self._put(found)

    def _told(self, found: list[Span], words: dict[str, str]) -> None:
        add(found[0], words)
        self._put(found)

    def _put(self, found: list[Span]) -> None:
        if len(self._waiting) + len(found) > WAITING_MAX:
            self.dropped += len(found)
        else:
            self._waiting.extend(found)

    async def keep(self) -> None:
        """Sends what waits, until it is cancelled."""
        pause_s = EVERY_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = EVERY_S if await self.flush() else min(PAUSE_MAX_S, 2 * pause_s)

    async def flush(self) -> bool:
        """One batch after the other. False: the collector did not take one, which waits for the next time."""
        while self._waiting and self.collector is not None:
            batch = [self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))]
            taken = await self._send(batch, self.collector)
            if taken is None:
                self._waiting.extendleft(reversed(batch[: WAITING_MAX - len(self._waiting)]))
                return False
            self.sent += len(batch) if taken else 0
            self.dropped += 0 if taken else len(batch)
        return True

    async def _send(self, batch: list[Span], collector: Collector) -> bool | None:
        """None: later, perhaps. False: it will never take these."""
        scope = {"scope": {"name": "headgate"}, "spans": batch}
        body = json.encode({"resourceSpans": [{"resource": self._resource, "scopeSpans": [scope]}]})
        headers = {"Content-Type": "application/json", **dict(collector.headers)}
        try:
            with Alarm(self._clock.now() + TIMEOUT_S):
                response = await self._transport.send(UpstreamRequest("POST", collector.url, headers, body))
                size = 0
                while size < REPLY_MAX and (data := await response.read()):
                    size += len(data)
                response.close()
        except (TimeoutError, ProxyError):
            return None
        if 200 <= response.status < 300:
            return True
        return None if response.status in (429, 502, 503, 504) else False  # those that OTLP says may be tried again

    def _keeps(self, outcome: Outcome, share: float) -> bool:
        call = outcome.call
        slow = self._slowness.is_slow(call.route, outcome.duration_s)
        if slow or outcome.error_code is not None or outcome.served_by in ALWAYS:
            return True
        if any(attempt.role != "first" or attempt.error_code is not None for attempt in outcome.attempts):
            return True
        return int(call.trace_id[-8:], 16) < share * 2**32
