"""The live feed, connected: ended calls from the ledger, events from the log, gauges from the metrics, once a second.

All three are those of the whole gate, however many processes serve, so the feed is too. Folding gives way to calls in
between. What is told is decided in `telemetry.live`, how it reaches viewers in `surfaces.feed`.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Final

from proxy.clock import Clock
from proxy.state.ledger import Ledger
from proxy.surfaces.feed import Feed
from proxy.telemetry.live import Live
from proxy.telemetry.live_report import Event, Gauges, Snapshot
from proxy.telemetry.log import Note, RequestLog
from proxy.telemetry.metrics import Metrics

EVERY_S: Final = 1.0
FOLDS: Final = 10  # in that time, so that what has ended is let go soon: each waiting call is 1.1 KB
STRIDE: Final = 100  # calls folded between two breaths of the loop


class LiveDesk:
    def __init__(self, ledger: Ledger, metrics: Metrics, log: RequestLog, clock: Clock) -> None:
        self._ledger = ledger
        self._numbers = metrics.table.numbers
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._live = Live(self._now_ms())
        self.feed = Feed(clock.id()[:12], self._snapshot)
        log.listener = self._noted

    def __repr__(self) -> str:
        return f"LiveDesk({self._live!r}, {self.feed!r})"

    async def keep(self) -> None:
        """Until it is cancelled."""
        while True:
            for _ in range(FOLDS):
                await asyncio.sleep(EVERY_S / FOLDS)
                await self._fold()
            await self.tick()

    async def tick(self) -> None:
        await self._fold()
        self.feed.publish("delta", self._live.tick(self._now_ms(), self._gauges()))

    async def _fold(self) -> None:
        ended = self._ledger.ended
        for _ in range(len(ended) // STRIDE):
            self._live.fold([ended.popleft() for _ in range(STRIDE)])
            await asyncio.sleep(0)
        self._live.fold([ended.popleft() for _ in range(len(ended))])

    def _gauges(self) -> Gauges:
        state = [values for values, child in self._numbers["breaker_state"].children() if child.now]
        return Gauges(
            in_flight=int(self._sum("in_flight_requests")),
            queued=int(self._sum("queue_depth")),
            saved_usd_nanos=int(self._sum("cache_saved_usd_total")),
            hedges=int(self._sum("hedges_fired_total")),
            out=tuple([target for target, which in state if which == "open"]),
            trying=tuple([target for target, which in state if which == "half_open"]),
        )

    def _sum(self, name: str) -> float:
        return sum([child.now for _, child in self._numbers[name].children()])

    def _snapshot(self) -> Snapshot:
        return self._live.snapshot(self._now_ms())

    def _noted(self, note: Note) -> None:
        """May come from any thread."""
        self._loop.call_soon_threadsafe(self._tell, note)

    def _tell(self, note: Note) -> None:
        event = Event(int(note.wall * 1000), note.name, note.level, dict(islice(note.fields.items(), 20)))
        self._live.noted(event)
        self.feed.publish("event", event)

    def _now_ms(self) -> int:
        return int(self._clock.wall() * 1000)
