"""What the shared store was asked, how it went and whether it is asked at all can be read from a scrape."""

from __future__ import annotations

from proxy.telemetry.metrics import Metrics


def test_questions_are_counted_by_outcome_and_timed() -> None:
    metrics = Metrics(["m"], [])
    shared, states = metrics.of_shared(), ["closed"]
    shared.watch(lambda: states[-1])
    shared.asked("rates", "ok", 0.002)
    shared.asked("get", "timeout", 0.05)
    shared.skipped("get")
    text = metrics.exposition("text/plain")[0].decode()
    assert 'headgate_shared_operations_total{op="rates",outcome="ok"} 1' in text
    assert 'headgate_shared_operations_total{op="get",outcome="skipped"} 1' in text
    assert 'headgate_shared_seconds_bucket{le="0.005",op="rates"} 1' in text
    assert 'headgate_shared_breaker_state{state="closed"} 1' in text
    states.append("open")
    text = metrics.exposition("text/plain")[0].decode()
    assert 'headgate_shared_breaker_state{state="open"} 1' in text
    assert 'headgate_shared_breaker_state{state="closed"} 0' in text
