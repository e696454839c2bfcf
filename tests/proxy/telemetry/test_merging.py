"""Metrics of several processes as one: totals that never fall, whoever dies and begins again."""

from __future__ import annotations

import random

from proxy.telemetry.merging import Merger, Sender
from proxy.telemetry.metrics import Metrics
from tests.proxy.state.samples import call, outcome
from tests.proxy.telemetry.samples import Found, metrics, scrape, value


def feed(made: Metrics, count: int, *, seed: int = 1) -> None:
    chance = random.Random(seed)
    for number in range(count):
        of = call(f"r{number}")
        made.started(of.route)
        made.observe(outcome(of, duration_s=chance.uniform(0.1, 3)))


def total_of(found: Found, name: str, outcome: str | None = None) -> float:
    """Over all series of one name."""
    wanted = None if outcome is None else ("outcome", outcome)
    return sum(number for (each, labels), number in found.items() if each == name and (not wanted or wanted in labels))


def test_two_workers_make_the_text_that_one_process_makes() -> None:
    one, total, workers = metrics(), metrics(), [metrics(), metrics()]
    merger = Merger(total.table)
    feed(one, 30, seed=1)
    feed(one, 20, seed=2)
    feed(workers[0], 30, seed=1)
    feed(workers[1], 20, seed=2)
    for number, worker in enumerate(workers):
        merger.add(number, Sender(worker.table).changes())
    alone, merged = scrape(one), scrape(total)
    for name in ("requests_total", "request_duration_seconds_count", "spend_usd_total", "tokens_total"):
        assert total_of(merged, name) == total_of(alone, name) > 0, name
    assert value(merged, "calls_started_total") == 50


def test_only_what_has_changed_is_told() -> None:
    made = metrics()
    sender = Sender(made.table)
    sender.changes()
    assert sender.changes() == ()
    feed(made, 1)
    changed = {change.family for change in sender.changes()}
    assert "requests_total" in changed
    assert "config_reloads_total" not in changed
    assert "request_duration_seconds" in changed
    assert sender.changes() == ()


def test_totals_go_on_when_a_worker_begins_again() -> None:
    total = metrics()
    merger = Merger(total.table)
    for _ in range(3):
        worker = metrics()  # a fresh process counts from nothing
        sender = Sender(worker.table)
        feed(worker, 5)
        merger.add(0, sender.changes())
        feed(worker, 5)
        merger.add(0, sender.changes())
        merger.forget(0)
    assert value(scrape(total), "calls_started_total") == 30


def test_the_calls_of_a_dead_worker_have_ended() -> None:
    total, worker = metrics(), metrics()
    merger = Merger(total.table)
    for _ in range(3):
        worker.started("smart")
    merger.add(0, Sender(worker.table).changes())
    found = scrape(total)
    assert (value(found, "calls_started_total"), total_of(found, "in_flight_requests")) == (3, 3)
    merger.forget(0)
    found = scrape(total)
    assert (total_of(found, "in_flight_requests"), total_of(found, "requests_total", "proxy_error")) == (0, 3)


def test_what_only_the_owner_has_is_not_told() -> None:
    worker = metrics()
    worker.set("workers", 7)
    worker.set("config_last_success_timestamp_seconds", 9)
    assert {change.family for change in Sender(worker.table).changes()} & {
        "workers",
        "config_last_success_timestamp_seconds",
        "target_info",
    } == set()


def test_the_newest_example_of_a_bucket_is_kept() -> None:
    total, workers = metrics(), [metrics(), metrics()]
    merger = Merger(total.table)
    for worker, wall, trace in ((workers[0], 20.0, "new"), (workers[1], 10.0, "old")):
        worker.table.histograms["request_cost_usd"]["smart",].observe_traced(5, trace, wall)
    for number, worker in enumerate(workers):
        merger.add(number, Sender(worker.table).changes())
    child = total.table.histograms["request_cost_usd"]["smart",]
    assert [traced[0] for traced in child.exemplars if traced] == ["new"]
    assert sum(child.counts) == 2
