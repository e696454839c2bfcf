from __future__ import annotations

from proxy.telemetry.catalog import FAMILIES
from proxy.telemetry.gpu_metrics import GpuMetrics
from proxy.telemetry.labels import Labels
from proxy.telemetry.series import Table


def test_what_time_costs_and_what_calls_pay_are_two_counters() -> None:
    table = Table(FAMILIES, Labels(10))
    metrics = GpuMetrics(table.numbers)
    for _ in range(2):
        metrics.gpu_time("gpu-a", elapsed_usd_nanos=5, charged_usd_nanos=3)
    assert table.numbers["gpu_elapsed_usd_total"]["gpu-a",].value == 10
    assert table.numbers["gpu_charged_usd_total"]["gpu-a",].value == 6
