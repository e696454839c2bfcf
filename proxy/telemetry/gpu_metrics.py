"""The metrics of engines of one's own: what their time has cost, and what of that calls were charged."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.telemetry.series import Number, Series


class GpuMetrics:
    def __init__(self, numbers: Mapping[str, Series[Number]]) -> None:
        self._elapsed = numbers["gpu_elapsed_usd_total"]
        self._charged = numbers["gpu_charged_usd_total"]

    def gpu_time(self, provider: str, *, elapsed_usd_nanos: int, charged_usd_nanos: int) -> None:
        self._elapsed[provider,].value += elapsed_usd_nanos
        self._charged[provider,].value += charged_usd_nanos
