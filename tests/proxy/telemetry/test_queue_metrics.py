"""The metrics of lines: who stands in them now, and how long those stood that have left."""

from __future__ import annotations

from proxy.telemetry.metrics import Metrics


def test_depth_goes_up_and_down_and_waits_are_kept_by_route() -> None:
    metrics = Metrics(("smart",), ())
    for route in ("smart", "smart", "", "typed by a client"):
        metrics.queues.began(route)
    metrics.queues.ended("smart", 0.3)
    text = metrics.exposition("")[0].decode()
    assert 'headgate_queue_depth{route="smart"} 1.0' in text
    assert 'headgate_queue_seconds_count{route="smart"} 1.0' in text
    assert 'headgate_queue_seconds_bucket{le="0.25",route="smart"} 0.0' in text
    assert 'headgate_queue_seconds_bucket{le="0.5",route="smart"} 1.0' in text
    assert 'headgate_queue_depth{route="other"} 2.0' in text
    assert "typed" not in text


def test_what_is_held_for_a_quiet_time_is_counted_by_itself() -> None:
    metrics = Metrics(("smart",), ())
    for route in ("smart", "smart", "", "smart"):
        metrics.held.began(route)
    metrics.held.ended("smart", "rescued")
    metrics.held.ended("smart", "left")
    text = metrics.exposition("")[0].decode()
    assert 'headgate_held_calls{route="smart"} 1.0' in text
    assert 'headgate_held_calls{route="other"} 1.0' in text
    assert 'headgate_held_total{result="rescued",route="smart"} 1.0' in text
    assert 'headgate_held_total{result="quiet",route="smart"} 0.0' in text
    assert 'headgate_queue_depth{route="smart"} 0.0' in text
