"""The composition root: the one place that constructs things and connects them. Nobody imports it; commands load it.

A `Gate` is everything of one process: ledger, metrics, log, transport, both listeners, and the present snapshot of the
configuration, which a reload swaps whole. Its life as a command is `service`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from importlib.metadata import version as installed_version
from io import FileIO
from typing import BinaryIO

from msgspec import structs

from policies.accounts import Accounts
from policies.retry import AttemptBudget
from pricing.book import Bill, explain
from proxy.assemble import Assembled, Tools, Transports, assemble
from proxy.budget_news import BudgetNews
from proxy.budgets import Budgets, Waiting
from proxy.clock import Clock, day_wall
from proxy.config.check import is_loopback
from proxy.config.load import Config, ConfigError, effective
from proxy.config.values import usd_nanos
from proxy.counting import Counting
from proxy.dialects.openai_chat import OpenAI
from proxy.execution.attempt import Bench
from proxy.execution.race import Race
from proxy.finish import Finish, Observer, Recorder
from proxy.listeners import AdminListener, DataListener, bind, url
from proxy.pipeline import Parts, Pipeline
from proxy.state.keys import Keyring, KeyStore, KeyStoreError, load_pepper
from proxy.state.ledger import Ledger
from proxy.state.ledger_queries import LedgerReports
from proxy.surfaces.admin import AdminServices, admin_app
from proxy.surfaces.llm import Services, Surface
from proxy.surfaces.server import Edges, Server
from proxy.tasks import Tasks
from proxy.telemetry.log import LibraryHandler, RequestLog
from proxy.telemetry.metrics import Metrics
from proxy.types import Usage
from proxy.watching import measure_lag, watch_config, watch_keys

Load = Callable[[], Config]
NEED_RESTART = ("server", "admin", "data_dir", "telemetry")  # what a reload reads and cannot change


class Gate:
    """One running gate. `start` it, ask it for `data_url` and `admin_url`, `stop` it."""

    def __init__(self, config: Config, load: Load, clock: Clock, *, log_to: BinaryIO | None = None) -> None:
        """`log_to`: a gate that is part of a demonstration writes its log there, and its metrics say what it is.

        Raises ListenError, ProxyError (the ledger), KeyStoreError, ValueError: nothing was started then.
        """
        self.config = config
        self.ready = False
        self._load = load
        self._clock = clock
        self._loopback = is_loopback(config.server.host)
        data = bind(config.server.host, config.server.port, "data listener", "--port")
        admin = bind(config.admin.host, config.admin.port, "admin listener", "--admin-port")
        self.data_url, self.admin_url = url(data), url(admin)
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._pepper = load_pepper(config.data_dir, os.environ)
        self._keys = KeyStore(config.data_dir, self._pepper, clock.wall)
        terminal = config.telemetry.log_format == "text" or (
            config.telemetry.log_format == "auto" and sys.stderr.isatty()
        )
        # Unbuffered and our own: a writer stuck in a shared buffer would hold up the end of the process.
        sink = FileIO(2, "wb", closefd=False) if log_to is None else log_to
        self.log = RequestLog(sink, clock.wall, terminal=terminal and log_to is None)
        self.ledger = Ledger.open(config.data_dir / "ledger.db", self._ledger_failed)
        self.tasks = Tasks(self._task_failed)
        self._counting = Counting(self._count_failed)
        self._tools = Tools(clock=clock, dialect=OpenAI(), transports=Transports(), simulations={})
        self._assembled = assemble(config, self._tools, self._keyring(config))
        self.metrics = self._new_metrics(self._assembled, demo=log_to is not None)
        self.budgets = self._new_budgets(config)
        self.pipeline = self._new_pipeline(config)
        surface = Surface(
            Services(
                clock=clock,
                dialect=self._tools.dialect,
                pipeline=self.pipeline,
                snapshot=lambda: self._assembled.snapshot,
                ready=lambda: self.ready and self.ledger.accepting,
            )
        )
        self._data = DataListener(data, Server(surface.handle, _edges(config), clock.id))
        self._admin = AdminListener(admin, admin_app(self._admin_services()))
        self._watch_metrics()

    @property
    def open(self) -> bool:
        """Any key is accepted: none was ever made, and only this machine reaches the data listener."""
        return self._keyring(self.config).open

    async def start(self) -> None:
        logging.getLogger().addHandler(LibraryHandler(self.log))
        self.ledger.start()
        await self._admin.start()
        await self._data.start()
        self.tasks.start("loop lag", measure_lag(self.metrics.loop_lag))
        self.tasks.start("keys", watch_keys(self._look_at_keys))
        if self.config.source is not None:
            self.tasks.start("configuration", watch_config(self.config.source, self.reload_from_file))
        for warning in self._assembled.targets.warnings:
            self.log.event("price", "warning", {"what": warning})
        self.ready = True

    async def stop(self) -> None:
        """Not ready at once, then no new connections; calls that run may end within `limits.drain_s`; then everything
        is written and closed."""
        self.ready = False
        await asyncio.sleep(self.config.limits.stop_pause_s)  # a load balancer asks /health/ready and looks elsewhere
        self._data.close()
        await self.pipeline.drain(self._assembled.snapshot.limits.drain_s)
        await self._data.stop()
        await self.tasks.close()
        await self._admin.stop()
        await self._tools.transports.close()
        self.ledger.close()
        self.log.close()

    async def reload(self) -> str | None:
        """Swaps the whole snapshot, or keeps the one in force and says why."""
        try:
            config = self._load()
            assembled = assemble(config, self._tools, self._keyring(config))
        except (ConfigError, KeyStoreError, ValueError, OSError) as error:
            self.metrics.reload_failed()
            self.log.event("reload refused", "error", {"why": str(error)})
            return str(error)
        snapshot = assembled.snapshot
        fixed = [name for name in NEED_RESTART if getattr(config, name) != getattr(self.config, name)]
        if fixed:
            self.log.event("restart needed", "warning", {"for": ", ".join(fixed)})
        self._learn_names(config, assembled)
        self.config, self._assembled = config, assembled
        self.budgets.accounts.replace(assembled.rulebook)
        self.metrics.reload_succeeded(self._clock.wall())
        self.log.event("reloaded", "info", {"version": snapshot.version})
        return None

    def _learn_names(self, config: Config, assembled: Assembled) -> None:
        """Metrics have labels for the names that are known before they are used."""
        routes, models = assembled.snapshot.planner.routes, assembled.targets.book_models
        self.metrics.reconfigure(routes.names, assembled.metered, agents=self._agents(config), models=models)

    def _agents(self, config: Config) -> tuple[str, ...]:
        configured = (key.agent for key in config.keys if key.agent != "any")
        made = (stored.record.agent for stored in self._keys.list() if stored.record.agent is not None)
        return tuple(dict.fromkeys((*config.agents, *configured, *made)))

    # --- construction --------------------------------------------------------------------------------------------

    def _keyring(self, config: Config) -> Keyring:
        return Keyring(self._keys, self._pepper, configured=config.configured_keys(), loopback=self._loopback)

    def _new_metrics(self, assembled: Assembled, *, demo: bool) -> Metrics:
        routes = assembled.snapshot.planner.routes
        names = assembled.targets.book_models
        metrics = Metrics(routes.names, assembled.metered, agents=self._agents(self.config), models=names)
        metrics.set_build(installed_version("headgate"), "true" if demo else "false")
        metrics.set("config_last_success_timestamp_seconds", self._clock.wall())
        metrics.set("prices_timestamp_seconds", day_wall(assembled.targets.book_about.date))
        return metrics

    def _new_budgets(self, config: Config) -> Budgets:
        tolerance = usd_nanos(config.budgets.overrun_tolerance_usd)
        accounts = Accounts(self._assembled.rulebook, overrun_tolerance_usd_nanos=tolerance)
        waiting = Waiting(config.budgets.wait_s, config.budgets.waiting_max)
        return Budgets(accounts, self._clock, BudgetNews(self.log), waiting)

    def _new_pipeline(self, config: Config) -> Pipeline:
        bench = Bench(
            clock=self._clock,
            count_text=self._counting.count,
            started=self.metrics.attempt_started,
            ended=self.metrics.attempt_ended,
        )
        observers: dict[str, Observer] = {"ledger": Recorder(self.ledger), "metrics": self.metrics, "log": self.log}
        return Pipeline(
            Parts(
                clock=self._clock,
                dialect=self._tools.dialect,
                race=Race(bench, AttemptBudget(config.defaults.retry.budget)),
                store=self.budgets,
                finish=Finish(self._clock, observers, self._observer_failed),
                tasks=self.tasks,
                ledger_accepting=lambda: self.ledger.accepting,
                started=self.metrics.started,
                on_defect=self._defect,
            )
        )

    def _admin_services(self) -> AdminServices:
        return AdminServices(
            reports=LedgerReports(self.ledger, self._explain_price),
            keys=self._keys,
            metrics=self.metrics.exposition,
            config=lambda: {"version": self.config.version, "values": effective(self.config)},
            targets=self._targets,
            reload=self.reload,
            wall=self._clock.wall,
            audit=lambda audit: self.log.event("audit", "info", structs.asdict(audit)),
            version=installed_version("headgate"),
            base_url=f"{self.data_url}/v1",
            token=self.config.admin.token,
            hosts=frozenset(self.config.admin.hosts),
            key_errors=(KeyStoreError,),
        )

    def _watch_metrics(self) -> None:
        ledger, metrics = self.ledger, self.metrics
        loop = asyncio.get_running_loop()
        metrics.watch("ledger_queue_entries", lambda: ledger.waiting)
        metrics.watch("ledger_lag_seconds", lambda: ledger.lag_s(loop.time()))
        metrics.watch_drift(lambda: ledger.posted_usd_nanos)
        metrics.watch("ledger_writes_total", lambda: ledger.commits, "ok")
        metrics.watch("ledger_writes_total", lambda: ledger.failed, "failed")
        metrics.watch("log_records_dropped_total", lambda: self.log.dropped)

    # --- answers for the admin listener --------------------------------------------------------------------------

    def _explain_price(self, price_id: str, provider: str, model: str, usage: Usage) -> Bill | None:
        price = self._assembled.targets.price(provider, model)
        return explain(usage, price) if price is not None and price.id == price_id else None

    def _targets(self) -> object:
        return [
            {"target": target.id, "provider": target.provider, "model": target.model, "price": target.price}
            for target in self._assembled.metered
        ]

    # --- what happens on the side --------------------------------------------------------------------------------

    async def reload_from_file(self) -> None:
        await self.reload()

    def _look_at_keys(self) -> None:
        try:
            if self._keys.reload_if_changed():
                self._learn_names(self.config, self._assembled)
        except KeyStoreError as error:
            self.log.event("keys", "error", {"why": str(error)})

    def _ledger_failed(self, why: str) -> None:
        self.log.event("ledger", "error", {"why": why})

    def _task_failed(self, name: str, error: BaseException) -> None:
        self.log.event("task failed", "error", {"task": name, "error": type(error).__name__})

    def _observer_failed(self, name: str, error: Exception) -> None:
        self.metrics.observer_failed(name)
        self.log.event("observer failed", "error", {"observer": name, "error": type(error).__name__})

    def _count_failed(self, error: Exception) -> None:
        self.log.event("count failed", "warning", {"error": type(error).__name__})

    def _defect(self, error: BaseException) -> None:
        logging.getLogger("proxy").error("a call met a defect of the gate", exc_info=error)


def _edges(config: Config) -> Edges:
    limits = config.limits
    return Edges(
        head_timeout_s=limits.head_timeout_s,
        keepalive_s=limits.keepalive_s,
        connections_max=limits.connections_max,
    )
