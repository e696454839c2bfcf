"""Caches for a gate of a test: all of it in memory, and a disk that fails fails the test. And what an operator asks."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from policies.conformal import Heard, Standing, Standings
from proxy.caching.cabinet import Cabinet
from proxy.caching.desk import Caches
from proxy.caching.stock import Bounds, Purge
from proxy.clock import Clock
from proxy.execution.given import Feedback, Reset, Word
from proxy.state.cache_report import CacheReport, OnDisk, Purged, Savings

STANDINGS = Standings(
    [
        Standing("writer", "smart", 0, 120, 2.0, 0.05, 0.041, 0.83, 0.6, False, 0, "worse in at most 4.1%"),
        Standing("coder", "smart", 0, 12, 6.0, 0.05, 0.7, None, 0.0, True, 1, "withdrawn"),
    ]
)
REPORT = CacheReport(
    entries=2,
    bytes=3 * 1024 * 1024,
    evicted=1,
    disk_failures=0,
    on_disk={"reply": OnDisk(5, 1024 * 1024), "replay": OnDisk(1, 512)},
    savings={"exact": Savings({"hit": 3, "miss": 4}, 1_200, 250_000_000), "join": Savings({"hit": 2})},
)


def caches(clock: Clock, path: Path | None = None, bounds: Bounds | None = None) -> Caches:
    return Caches(clock, Cabinet(path, _fail, clock.wall), bounds)


def _fail(what: str) -> None:
    raise AssertionError(what)


class CascadeDesk:
    """Remembers what was said."""

    def __init__(self) -> None:
        self.words: list[Word] = []

    async def report(self) -> Struct:
        return STANDINGS

    async def feedback(self, feedback: Feedback) -> Struct:
        self.words.append(feedback)
        return Heard(answers=2)

    async def reset(self, reset: Reset) -> Struct:
        self.words.append(reset)
        return Heard(rungs=1)


class CacheDesk:
    """Remembers what was to go."""

    def __init__(self) -> None:
        self.purges: list[Purge] = []

    async def report(self) -> Struct:
        return REPORT

    async def purge(self, purge: Purge) -> Struct:
        self.purges.append(purge)
        return Purged(2, 3)
