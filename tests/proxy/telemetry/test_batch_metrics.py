from __future__ import annotations

from proxy.telemetry.batch_metrics import BatchMetrics
from proxy.telemetry.metrics import Metrics


def test_lines_and_ends_are_counted_and_what_runs_is_asked_for() -> None:
    metrics = Metrics((), ())
    batches = BatchMetrics(metrics.table.numbers)
    batches.watch(lambda: 2)
    for good in (True, True, False):
        batches.answered(good)
    batches.ended("cancelled")
    text = metrics.exposition("")[0].decode()
    assert 'headgate_batch_lines_total{result="completed"} 2.0' in text
    assert 'headgate_batch_lines_total{result="failed"} 1.0' in text
    assert 'headgate_batches_total{status="cancelled"} 1.0' in text
    assert "headgate_batches_running 2.0" in text
