"""The metrics of one process, connected: the names its configuration knows, and the numbers that others own."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version as installed_version

from proxy.assemble import Assembled, gpu_rates
from proxy.assembly import Assembly
from proxy.clock import Clock, day_wall
from proxy.config.load import Config
from proxy.execution.gate_desk import GateDesk
from proxy.money.gpus import GpuBooks
from proxy.state.ledger import Ledger
from proxy.telemetry.gate_metrics import GateMetrics
from proxy.telemetry.gpu_metrics import GpuMetrics
from proxy.telemetry.log import RequestLog
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


def gpu_books(assembly: Assembly, ledger: Ledger, *, metrics: Metrics, log: RequestLog) -> GpuBooks:
    """The time of the engines that have a price by the hour, from now on."""
    tools, counters = assembly.tools, GpuMetrics(metrics.table.numbers)
    books = GpuBooks(tools.gpus, tools.clock, events=ledger, counters=counters, tell=log.event)
    books.use(gpu_rates(assembly.config))
    return books


def gate_desk(assembly: Assembly, clock: Clock, metrics: Metrics) -> GateDesk:
    """The gates of runs before pools of one's own engines."""
    return GateDesk(assembly.present.pools, clock, GateMetrics(metrics.table))


def told(log: RequestLog, event: str, why: str) -> None:
    """Something that the gate lives on has failed."""
    log.event(event, "error", {"why": why})
