"""The metrics of batches: how they ended, what their lines came to. What lines cost stands with the calls they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from proxy.telemetry.series import Number, Series


class BatchMetrics:
    def __init__(self, numbers: Mapping[str, Series[Number]]) -> None:
        self._batches = numbers["batches_total"]
        self._lines = numbers["batch_lines_total"]
        self._running = numbers["batches_running"]

    def watch(self, running: Callable[[], int]) -> None:
        self._running[()].read = running

    def ended(self, status: str) -> None:
        self._batches[status,].value += 1

    def answered(self, good: bool) -> None:
        self._lines["completed" if good else "failed",].value += 1
