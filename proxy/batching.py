"""The batches of one process that serves, connected: its archive, who runs them, and the surface before it."""

from __future__ import annotations

from typing import Final

from proxy.assembly import Assembly
from proxy.batches.archive import Archive
from proxy.batches.keeper import Keeper, Kit
from proxy.batches.lines import Lines, Serve
from proxy.surfaces.batches import BatchSurface
from proxy.tasks import Tasks
from proxy.telemetry.batch_metrics import BatchMetrics
from proxy.telemetry.log import RequestLog
from proxy.telemetry.metrics import Metrics

FOLDER: Final = "batches"  # below data_dir


class Batching:
    def __init__(self, assembly: Assembly, tasks: Tasks, serve: Serve, *, log: RequestLog, metrics: Metrics) -> None:
        tools, counters = assembly.tools, BatchMetrics(metrics.table.numbers)
        self._log = log
        self._archive = Archive(assembly.config.data_dir / FOLDER)
        self.keeper = Keeper(
            Kit(
                archive=self._archive,
                lines=Lines(tools.clock, tools.dialect, serve, lambda: assembly.snapshot),
                tasks=tasks,
                clock=tools.clock,
                rules=lambda: assembly.snapshot.batches,
                answered=counters.answered,
                ended=counters.ended,
                report=self._report,
            )
        )
        counters.watch(lambda: self.keeper.running)
        self.surface = BatchSurface(self._archive, tools.clock, tools.dialect, self.keeper.wake)

    def __repr__(self) -> str:
        return f"Batching({self.keeper!r})"

    def _report(self, what: str) -> None:
        self._log.event("batches", "warning", {"what": what})
