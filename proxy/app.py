"""The composition root: the one place that constructs things and connects them. Nobody imports it; commands load it.

A `Gate` is everything of one process: ledger, metrics, log, transport, both listeners, and the present snapshot of the
configuration, which a reload swaps whole. Its life as a command is `service`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable
from functools import partial
from io import FileIO
from operator import attrgetter
from typing import BinaryIO

from policies.accounts import Accounts
from proxy.assemble import gpu_rates
from proxy.assembly import Assembly
from proxy.clock import Clock
from proxy.config.load import Config, ConfigError, effective
from proxy.config.unpayable import unpriced
from proxy.config.values import usd_nanos
from proxy.data_plane import DataPlane, Surroundings
from proxy.desks.admin import AdminDesk
from proxy.desks.batches import BatchDesk
from proxy.desks.budgets import BudgetDesk
from proxy.desks.caches import CacheDesk
from proxy.desks.evidence import EvidenceDesk
from proxy.desks.experiments import ExperimentDesk
from proxy.desks.ledger import LedgerDesk
from proxy.desks.live import LiveDesk
from proxy.instruments import describe, gate_desk, gpu_books, learn_names, metrics_of, told, watch_ledger
from proxy.listeners import Listener, bind, url
from proxy.money.budgets import Budgets, Waiting
from proxy.money.keeping import Keeper
from proxy.money.restoring import open_books
from proxy.recording import audited, content_desk, content_services
from proxy.runs.governor import Governor, recall
from proxy.runs.registry import Runs
from proxy.runs.views import RunViews
from proxy.serving import Serving
from proxy.state.keys import KeyStoreError
from proxy.state.ledger import Ledger
from proxy.state.ledger_queries import LedgerReports
from proxy.state.run_queries import RunReports
from proxy.surfaces.admin import AdminServices, admin_surface
from proxy.surfaces.admin_guard import EDGES
from proxy.surfaces.admin_runs import RunServices
from proxy.surfaces.server import Server
from proxy.tasks import Tasks
from proxy.telemetry.log import LibraryHandler, RequestLog
from proxy.watching import watch_config, watch_keys
from proxy.workers.lender import Bank
from proxy.workers.orphans import adopt, bind_after
from proxy.workers.supervisor import Household, Supervisor

Load = Callable[[], Config]
NEED_RESTART = (  # what a reload reads and cannot change
    *("server.host", "server.port", "server.workers", "admin", "data_dir", "telemetry.log_format"),
    *("budgets.overrun_tolerance_usd", "caches.persist", "shared"),
)


class Gate:
    """One running gate. `start` it, ask it for `data_url` and `admin_url`, `stop` it."""

    def __init__(self, config: Config, load: Load, clock: Clock, *, log_to: BinaryIO | None = None) -> None:
        """`log_to`: a gate that is part of a demonstration writes its log there, and its metrics say what it is.
        Raises ListenError, ProxyError (the ledger), KeyStoreError, ValueError: nothing was started then.
        """
        self.ready = False
        self._load = load
        self._reloading = asyncio.Lock()
        self._clock = clock
        at = partial(bind, config.server.host, config.server.port, "data listener", "--port")
        data = bind_after(config.data_dir, at)
        admin = bind(config.admin.host, config.admin.port, "admin listener", "--admin-port")
        self.data_url, self.admin_url = url(data), url(admin)
        self.assembly = Assembly(config, clock)
        form = config.telemetry.log_format
        terminal = form == "text" or (form == "auto" and sys.stderr.isatty())
        # Unbuffered and our own: a writer stuck in a shared buffer would hold up the end of the process.
        sink = FileIO(2, "wb", closefd=False) if log_to is None else log_to
        self.log = RequestLog(sink, clock.wall, terminal=terminal and log_to is None)
        failed = partial(told, self.log, "ledger")
        self.ledger = Ledger.open(config.data_dir / "ledger.db", failed, wall=clock.wall)
        self.tasks = Tasks(self._task_failed)
        self.metrics = metrics_of(self.assembly)
        describe(self.metrics, self.assembly, clock, demo=log_to is not None)
        self.metrics.watch("log_records_dropped_total", lambda: self.log.dropped)
        watch_ledger(self.metrics, self.ledger, asyncio.get_running_loop().time)
        self.gpus = gpu_books(self.assembly, self.ledger, metrics=self.metrics, log=self.log)
        self.live = LiveDesk(self.ledger, self.metrics, self.log, clock)
        self.budgets = self._new_budgets(config)
        self.gates = gate_desk(self.assembly, clock, self.metrics)
        self.runs = Runs(clock, over=self.gates.over)
        watch = self.metrics.races.cascades if config.server.workers == 1 else None
        self.evidence = EvidenceDesk(self.ledger, clock, lambda: self.assembly.snapshot.cascades, watch)
        self.experiments = ExperimentDesk(self.ledger, lambda: self.config)
        self._serving = self._new_serving(data, terminal=terminal)
        self.evidence.attach(self._serving)
        self._admin = Listener(admin, Server(admin_surface(self._admin_services()).handle, EDGES, clock.id))

    @property
    def open(self) -> bool:
        """Any key is accepted: none was ever made, and only this machine reaches the data listener."""
        return self.assembly.keyring(self.config).open

    @property
    def config(self) -> Config:
        return self.assembly.config

    @property
    def in_flight(self) -> int:
        return self._serving.in_flight

    @property
    def unpriced(self) -> tuple[str, ...]:
        return tuple(unpriced(self.config, self.assembly.present.targets.price))

    async def start(self) -> None:
        logging.getLogger().addHandler(LibraryHandler(self.log))
        self.ledger.start()
        await self._admin.start()
        await self._serving.start()
        self.tasks.start("budgets", self.desk.watch())
        self.tasks.start("books", self.keeper.keep())
        self.tasks.start("gpus", self.gpus.keep())
        self.tasks.start("live feed", self.live.keep())
        self.tasks.start("content", self.content.keep())
        if self.restored.expired:
            self.log.event("holds expired", "warning", {"count": self.restored.expired})
        self.tasks.start("keys", watch_keys(self._look_at_keys))
        if self.config.source is not None:
            self.tasks.start("configuration", watch_config(self.config.source, self.reload_from_file))
        for warning in self.assembly.present.targets.warnings:
            self.log.event("price", "warning", {"what": warning})
        self.ready = True

    async def stop(self) -> None:
        """Not ready at once, then no new connections; calls that run may end within `limits.drain_s`; then everything
        is written and closed."""
        self.ready = False
        await asyncio.sleep(self.config.limits.stop_pause_s)  # a load balancer asks /health/ready and looks elsewhere
        await self._serving.stop()
        await self.tasks.close()
        self.desk.news.flush()
        self.gpus.book()
        self.live.feed.close()
        await self._admin.stop()
        await self.assembly.tools.transports.close()
        self.keeper.close()
        self.log.close()

    def kill(self) -> None:
        self._serving.kill()

    async def reload(self) -> str | None:
        """Swaps the whole snapshot, or keeps the one in force and says why. One at a time."""
        async with self._reloading:
            return await self._reload()

    async def _reload(self) -> str | None:
        try:
            config = self._load()
            assembled = self.assembly.made(config)
        except (ConfigError, KeyStoreError, ValueError, OSError) as error:
            return self._reload_refused(str(error))
        refused = await self._serving.prepare(config)
        if refused is not None:
            return self._reload_refused(refused)
        fixed = [name for name in NEED_RESTART if attrgetter(name)(config) != attrgetter(name)(self.config)]
        if fixed:
            self.log.event("restart needed", "warning", {"for": ", ".join(fixed)})
        learn_names(self.metrics, self.assembly, config, assembled)
        self.assembly.use(config, assembled)
        self.gpus.use(gpu_rates(config))
        self.budgets.accounts.replace(assembled.rulebook)
        self.budgets.bounds = _waiting(config)
        self.gates.use(assembled.pools)
        self._serving.swap(config)
        self.metrics.reload_succeeded(self._clock.wall())
        self.log.event("reloaded", "info", {"version": assembled.snapshot.version})
        return None

    def _reload_refused(self, why: str) -> str:
        self.metrics.reload_failed()
        self.log.event("reload refused", "error", {"why": why})
        return why

    # --- construction --------------------------------------------------------------------------------------------

    def _new_budgets(self, config: Config) -> Budgets:
        tolerance = usd_nanos(config.budgets.overrun_tolerance_usd)
        accounts = Accounts(self.assembly.present.rulebook, overrun_tolerance_usd_nanos=tolerance)
        self.desk = BudgetDesk(
            self.assembly, accounts, clock=self._clock, log=self.log, events=self.ledger, metrics=self.metrics
        )
        adopt(self.ledger, config.data_dir, drain_s=config.limits.drain_s)
        self.books, self.restored = open_books(self.ledger, accounts, config.data_dir, self._clock)
        witness = self.books if config.server.workers == 1 else None  # several of them keep their own journals
        budgets = Budgets(accounts, self._clock, self.desk.news, _waiting(config), witness=witness)
        self.keeper = Keeper(self.books, budgets, self._clock, self.log.event, checkpoint=self.restored.checkpoint)
        return budgets

    def _new_serving(self, data: socket.socket, *, terminal: bool) -> Serving:
        workers = self.config.server.workers
        if workers == 1:
            return DataPlane(data, self._surroundings())
        bank = Bank(self.budgets, self._clock, self.tasks, self.desk.news, workers)
        house = Household(
            assembly=self.assembly,
            clock=self._clock,
            log=self.log,
            metrics=self.metrics,
            tasks=self.tasks,
            runs=self.runs,
            ledger=self.ledger,
            bank=bank,
            gates=self.gates,
            evidence=self.evidence,
            experiments=self.experiments,
            terminal=terminal,
        )
        return Supervisor(data, house)

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            assembly=self.assembly,
            log=self.log,
            metrics=self.metrics,
            tasks=self.tasks,
            store=self.budgets,
            runs=self.runs,
            ledger=self.books,
            gates=self.gates,
            evidence=self.evidence.evidence,
            sampled=self.experiments.keep,
            accepting=lambda: self.ledger.accepting,
            ready=lambda: self.ready,
            denied=self.desk.news.denied,
        )

    def _run_services(self) -> RunServices:
        views = RunViews(RunReports(self.ledger), self.budgets, self._serving.look)
        governor = Governor(self.runs, self.budgets, self.ledger, views.seen, apply=self._serving.apply)
        governor.restore(self.ledger.read_now(partial(recall, wall=self._clock.wall())))
        return RunServices(views, governor, self._clock.wall, self._clock.id)

    def _admin_services(self) -> AdminServices:
        about = AdminDesk(self.assembly, self._serving, f"{self.data_url}/v1", lambda: self.unpriced)
        reports = LedgerReports(self.ledger, about.explain_price)
        self.content = content_desk(self.assembly, reports, self.log)
        return AdminServices(
            reports=reports,
            runs=self._run_services(),
            budgets=self.desk.outlook.answer,
            ledger=LedgerDesk(self.ledger, self.budgets, runs=self.runs, assembly=self.assembly).services,
            batches=BatchDesk(self.assembly),
            caches=CacheDesk(self._serving, self.metrics.caches.savings),
            cascades=self.evidence,
            experiments=self.experiments,
            content=content_services(self.content, self.assembly, self.log),
            keys=self.assembly.keys,
            metrics=self.metrics.scrapes.scraped,
            loadtest=self.metrics.of_load(self._clock.now).told,
            config=lambda: {"version": self.config.version, "values": effective(self.config)},
            targets=about.targets,
            gates=self.gates.rows,
            reload=self.reload,
            wall=self._clock.wall,
            audit=partial(audited, self.log),
            about=about.about,
            feed=self.live.feed,
            token=self.config.admin.token,
            hosts=frozenset(self.config.admin.hosts),
            key_errors=(KeyStoreError,),
        )

    # --- what happens on the side --------------------------------------------------------------------------------

    async def reload_from_file(self) -> None:
        await self.reload()

    def _look_at_keys(self) -> None:
        try:
            if self.assembly.keys.reload_if_changed():
                learn_names(self.metrics, self.assembly, self.config, self.assembly.present)
        except KeyStoreError as error:
            told(self.log, "keys", str(error))

    def _task_failed(self, name: str, error: BaseException) -> None:
        self.log.event("task failed", "error", {"task": name, "error": type(error).__name__})


def _waiting(config: Config) -> Waiting:
    return Waiting(config.budgets.wait_s, config.budgets.waiting_max)
