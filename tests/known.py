"""Caches for a gate of a test: all of it in memory, and a disk that fails fails the test. And what an operator asks."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from policies.conformal import Heard, Standing, Standings
from policies.experiment_report import Design, Matched, Report, Reports, Row, Side
from proxy.caching.cabinet import Cabinet
from proxy.caching.desk import Caches
from proxy.caching.stock import Bounds, Purge
from proxy.clock import Clock
from proxy.desks.experiments import Begun
from proxy.errors import ProxyError
from proxy.execution.given import Feedback, Reset, Word
from proxy.state.batch_report import BatchReport, BatchRow
from proxy.state.cache_report import CacheReport, OnDisk, Purged, Savings

STANDINGS = Standings(
    [
        Standing("writer", "smart", 0, 120, 2.0, 0.05, 0.041, 0.83, 0.6, False, 0, "worse in at most 4.1%"),
        Standing("coder", "smart", 0, 12, 6.0, 0.05, 0.7, None, 0.0, True, 1, "withdrawn"),
    ]
)
EXPERIMENT = Report(
    Design("smart-test", "large", "smart", "split", "run", 0.2),
    "2026-11-20T08:00:00.000Z",
    [
        Row(
            "cost_usd",
            Side(40, 400, 0.0123),
            Side(41, 90, 0.0045),
            -0.0078,
            (-0.009, -0.0066),
            (-0.0097, -0.0059),
            "lower",
        ),
        Row("duration_s", Side(40, 390, 2.5, 2.25, 9.0), Side(2, 2, 1.5, 1.25, 1.75), -1.0),
        Row("escalated", Side(40, 390, 0.0), Side()),
    ],
    Matched("answered", 0.0126, 0.0046, 2.74, (2.1, 3.5), "higher"),
    "the candidate costs 63.4% less. It is the better choice.",
    truncated=True,
)
BATCH = BatchRow(
    id="batch_1",
    key_id="key-1",
    agent="nightly",
    run="r",
    endpoint="/v1/chat/completions",
    status="failed",
    total=0,
    completed=0,
    failed=0,
    created_at=1,
    expires_at=86_401,
    ended_at=2,
    input_file_id="file-1",
    output_file_id=None,
    error_file_id=None,
    errors=("line 2: This line is not valid JSON.",),
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


class ExperimentDesk:
    """Remembers what was begun anew."""

    def __init__(self) -> None:
        self.reset_ones: list[str] = []

    async def reports(self) -> Struct:
        return Reports([EXPERIMENT])

    async def report(self, name: str) -> Struct:
        if name != EXPERIMENT.design.name:
            raise ProxyError("unknown_path", "no experiment has this name")
        return EXPERIMENT

    async def reset(self, name: str) -> Struct:
        self.reset_ones.append(name)
        return Begun(name)


class CacheDesk:
    """Remembers what was to go."""

    def __init__(self) -> None:
        self.purges: list[Purge] = []

    async def report(self) -> Struct:
        return REPORT

    async def purge(self, purge: Purge) -> Struct:
        self.purges.append(purge)
        return Purged(2, 3)


class BatchDesk:
    """Knows one batch, and remembers which were to end."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.asked: list[tuple[int, str | None]] = []

    async def report(self, limit: int, before: str | None) -> Struct:
        self.asked.append((limit, before))
        return BatchReport((BATCH,), more=False)

    async def one(self, id: str) -> Struct:
        return BATCH

    async def cancel(self, id: str) -> Struct:
        self.cancelled.append(id)
        return BATCH
