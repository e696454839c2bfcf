"""How gates stand is read at each scrape; waits are observed as they end."""

from __future__ import annotations

from proxy.telemetry.gate_metrics import GateMetrics
from proxy.telemetry.metrics import Metrics
from tests.build import target
from tests.proxy.telemetry.test_breaker_metrics import lines


class Standing:
    def runs(self, pool: str, state: str) -> int:
        return {"active": 5, "waiting": 2, "parked": 1}[state] if pool == "m" else 0

    def in_use(self, pool: str) -> float:
        return 300_000.0

    def limit(self, pool: str) -> float:
        return 540_000.0


def test_a_watched_pool_says_how_it_stands_and_others_say_nothing() -> None:
    metrics = Metrics(("m", "n"), (target("up/m"),))
    gates = GateMetrics(metrics.table)
    gates.watch(["m"], Standing())
    runs = lines(metrics, "run_gate_runs")
    assert runs == {
        **{f'route="m",state="{state}"': count for state, count in (("active", 5), ("waiting", 2), ("parked", 1))},
        **{f'route="n",state="{state}"': 0 for state in ("active", "waiting", "parked")},
    }
    assert lines(metrics, "run_gate_in_use")['route="m"'] == 300_000
    assert lines(metrics, "run_gate_limit")['route="m"'] == 540_000


def test_waits_are_counted() -> None:
    metrics = Metrics(("m",), (target("up/m"),))
    gates = GateMetrics(metrics.table)
    gates.ended("m", 40.0)
    gates.ended("m", 2.0)
    assert metrics.table.histograms["run_gate_wait_seconds"]["m",].sum == 42.0
