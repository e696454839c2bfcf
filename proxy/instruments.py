"""The metrics of one process, connected: the names its configuration knows, and the gauges that others own."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version as installed_version

from proxy.assemble import Assembled
from proxy.assembly import Assembly
from proxy.clock import Clock, day_wall
from proxy.config.load import Config
from proxy.state.ledger import Ledger
from proxy.telemetry.metrics import Metrics


def metrics_of(assembly: Assembly) -> Metrics:
    present = assembly.present
    names, models = present.snapshot.planner.routes.names, present.targets.book_models
    return Metrics(names, present.metered, agents=assembly.agents(assembly.config), models=models)


def describe(metrics: Metrics, assembly: Assembly, clock: Clock, *, demo: bool) -> None:
    """What runs, and since when."""
    metrics.set_build(installed_version("headgate"), "true" if demo else "false")
    metrics.set("config_last_success_timestamp_seconds", clock.wall())
    metrics.set("prices_timestamp_seconds", day_wall(assembly.present.targets.book_about.date))


def learn_names(metrics: Metrics, assembly: Assembly, config: Config, assembled: Assembled) -> None:
    """Metrics have labels for the names that are known before they are used."""
    names, models = assembled.snapshot.planner.routes.names, assembled.targets.book_models
    metrics.reconfigure(names, assembled.metered, agents=assembly.agents(config), models=models)


def watch_ledger(metrics: Metrics, ledger: Ledger, now: Callable[[], float]) -> None:
    metrics.watch("ledger_queue_entries", lambda: ledger.waiting)
    metrics.watch("ledger_lag_seconds", lambda: ledger.lag_s(now()))
    metrics.watch_drift(lambda: ledger.posted_usd_nanos)
    metrics.watch("ledger_writes_total", lambda: ledger.commits, "ok")
    metrics.watch("ledger_writes_total", lambda: ledger.failed, "failed")
