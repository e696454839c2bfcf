"""What answers calls: the pipeline, the surfaces before it and the data listener; one in each process that serves.

It is handed everything it shares with its process (clock, log, metrics, the store of accounts, where outcomes are
written) and owns nothing that must outlive a call.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence

from msgspec import Struct

from policies.affinity import Affinity
from policies.limits import Refusal
from policies.retry import AttemptBudget
from policies.warmth import Warmth
from proxy.assembly import Assembly
from proxy.batching import Batching
from proxy.caching.stock import Gone, Purge, Stock
from proxy.cascading import Cascading
from proxy.config.load import Config
from proxy.counting import Counting
from proxy.desks.evidence import heed
from proxy.execution.bench import Bench
from proxy.execution.easing import unheard
from proxy.execution.engine_watch import EngineWatch
from proxy.execution.evidence import Evidence
from proxy.execution.gating import Desk, Gating
from proxy.execution.given import Word
from proxy.execution.race import Race
from proxy.execution.shadowing import Learning
from proxy.execution.shared_homes import shared_homes
from proxy.execution.steering import Steering
from proxy.execution.trials import Tell, Trials, untold
from proxy.finish import Appendable, Finish, Observer, Recorder
from proxy.health import Health
from proxy.listeners import Listener
from proxy.pacing import Pacing
from proxy.parts import Parts
from proxy.pipeline import Pipeline
from proxy.recording import Recording
from proxy.remembering import Remembering
from proxy.runs.loop_guard import LoopGuard
from proxy.runs.registry import Applied, RunCommand, Runs, RunState
from proxy.sharing import sharing
from proxy.side_calls import SideCalls
from proxy.standing import standings
from proxy.state.store import Store
from proxy.state.target_report import Standing
from proxy.surfaces.connection import Edges
from proxy.surfaces.llm import Services, Surface
from proxy.surfaces.server import Server
from proxy.tasks import Tasks
from proxy.telemetry.affinity_metrics import AffinityMetrics
from proxy.telemetry.log import RequestLog
from proxy.telemetry.metrics import Metrics
from proxy.voting import voting
from proxy.watching import measure_lag


class Surroundings(Struct, frozen=True):
    """What a data plane shares with its process."""

    assembly: Assembly
    log: RequestLog
    metrics: Metrics
    tasks: Tasks
    store: Store
    runs: Runs
    ledger: Appendable
    gates: Desk
    evidence: Evidence
    accepting: Callable[[], bool]  # outcomes can be written
    ready: Callable[[], bool]
    sampled: Tell = untold  # keeps what a call adds to an experiment
    denied: Callable[[Refusal], None] = unheard  # a call has waited for its budget in vain


class DataPlane:
    def __init__(self, sock: socket.socket, around: Surroundings) -> None:
        self._around = around
        self._counting = Counting(self._count_failed)
        self._sharing = sharing(around.assembly, around.tasks, log=around.log, metrics=around.metrics)
        self._pacing = Pacing(around.assembly, around.metrics, around.runs.steps, self._sharing)
        around.metrics.watch("runs_active", lambda: around.runs.active)
        self.gating = Gating(around.gates, around.assembly.tools.clock, around.runs.steps)
        self.gating.use(around.assembly.present.pools)
        self.steering = Steering(
            around.assembly.tools.clock,
            around.assembly.config.hedging.rules(),
            lambda transition: self.health.turned(transition),
            Warmth(_affinity(around.assembly.config)),
        )
        rooms = self._pacing.permits.rooms
        self.health = Health(around.assembly, around.metrics, rooms, self.steering.breakers, around.log.event)
        self._attempt_budget = AttemptBudget(around.assembly.config.defaults.retry.budget)
        self._watch_races()
        self._use_affinity()
        tools = around.assembly.tools
        # They go through the pipeline that some of its own parts ask by them.
        self._sides = SideCalls(tools.clock, tools.dialect, around.tasks, lambda *call: self.pipeline.serve(*call))
        self.remembering = self._new_remembering()
        self.loops = LoopGuard(around.assembly.tools.clock, around.assembly.tools.dialect)
        self.recording = Recording(around.assembly, around.log, around.metrics)
        self.pipeline = self._new_pipeline()
        self.batching = Batching(
            around.assembly, around.tasks, self.pipeline.serve, log=around.log, metrics=around.metrics
        )
        self._use_cascades()
        surface = Surface(
            Services(
                clock=around.assembly.tools.clock,
                dialect=around.assembly.tools.dialect,
                pipeline=self.pipeline,
                snapshot=lambda: around.assembly.snapshot,
                ready=lambda: around.ready() and around.accepting(),
                content=self.recording.content,
                batches=self.batching.surface,
                shared=None if self._sharing is None else self._sharing.health,
            )
        )
        self._server = Server(surface.handle, _edges(around.assembly.config), around.assembly.tools.clock.id)
        self._listener = Listener(sock, self._server)

    def __repr__(self) -> str:
        return f"DataPlane({self.in_flight} calls)"

    @property
    def in_flight(self) -> int:
        return self.pipeline.in_flight

    async def start(self) -> None:
        await self._listener.start()
        self._around.tasks.start("probes", self.health.probe(self._around.tasks))
        loads, assembly = self.steering.loads, self._around.assembly
        watch = EngineWatch(loads, assembly.tools.clock, lambda: assembly.snapshot.providers)
        self._around.tasks.start("engines", watch.keep())
        self._around.tasks.start("traces", self.recording.tracing.keep())
        if self._sharing is not None:
            self._around.tasks.start("shared store", self._sharing.keep())
        self.batching.keeper.start()
        self._around.tasks.start("loop lag", measure_lag(self._around.metrics.loop_lag))

    async def stop(self) -> None:
        """No new connections; calls that run may end within `limits.drain_s`."""
        self._listener.close()
        self.batching.keeper.stop()
        await self.pipeline.drain(self._around.assembly.snapshot.limits.drain_s)
        await self._listener.stop()
        await self.recording.stop()
        await self.batching.keeper.close()
        await self.remembering.close()
        if self._sharing is not None:
            await self._sharing.close()

    async def prepare(self, config: Config) -> str | None:
        """Nothing beyond what its process has made of it already."""
        return None

    def swap(self, config: Config) -> None:
        """The process has swapped its snapshot; what does not ask that for its limits is told them."""
        self._pacing.renew()
        self.gating.use(self._around.assembly.present.pools)
        self.health.renew()
        self.steering.hedges.replace(config.hedging.rules())
        self._attempt_budget.share = config.defaults.retry.budget
        self.remembering.use(config)
        self.recording.use(config)
        self._use_cascades()
        self._watch_races()
        self._use_affinity()
        self._server.edges = _edges(config)

    def kill(self) -> None:
        """No other process is to be ended."""

    async def apply(self, command: RunCommand) -> Applied:
        return await self._around.runs.apply(command)

    async def look(self, runs: Sequence[str], named: str = "") -> list[RunState]:
        return await self._around.runs.look(runs, named)

    async def survey(self) -> list[Standing]:
        return standings(self.health.rows(), self._pacing.permits.rooms, self.steering.loads)

    async def stock(self) -> Stock:
        return await self.remembering.stock()

    async def purge(self, purge: Purge) -> Gone:
        return await self.remembering.purge(purge)

    async def heed(self, word: Word) -> int:
        return max(heed(word, self._around.evidence, self.remembering.semantic), self.trials.heed(word))

    def _watch_races(self) -> None:
        around, now = self._around, self._around.assembly.tools.clock.now
        routes, armed_s = around.assembly.snapshot.planner.routes.names, self.steering.hedges.armed_s
        around.metrics.races.watch(routes, armed_s, lambda: self._attempt_budget.remaining_ratio(now()))

    def _use_cascades(self) -> None:
        routes = self._around.assembly.snapshot.planner.routes.all
        rungs = {route.name: len(route.members) for route in routes if route.mode == "cascade"}
        self._around.metrics.races.cascades.expect(rungs)
        if rungs:
            self.cascading.load()

    def _use_affinity(self) -> None:
        assembly, warmth = self._around.assembly, self.steering.warmth
        warmth.on, warmth.affinity.unshared = assembly.config.affinity.enabled, assembly.config.affinity.several_gates
        keeping = [target.id for target in assembly.present.metered if target.traits.prefix_cache]
        AffinityMetrics(self._around.metrics.table).watch(keeping, warmth.affinity)

    def _new_remembering(self) -> Remembering:
        around, elsewhere = self._around, None if self._sharing is None else self._sharing.answers
        return Remembering(
            around.assembly,
            around.tasks,
            self._sides,
            log=around.log,
            metrics=around.metrics,
            elsewhere=elsewhere,
        )

    def _new_pipeline(self) -> Pipeline:
        around, tools = self._around, self._around.assembly.tools
        bench = Bench(
            clock=tools.clock,
            count_text=self._counting.count,
            started=around.metrics.attempt_started,
            ended=around.metrics.attempt_ended,
            steering=self.steering,
        )
        observers: dict[str, Observer] = {
            "ledger": Recorder(around.ledger),
            "metrics": around.metrics,
            "log": around.log,
            "traces": self.recording.tracing,
            "budgets": around.metrics.of_budgets(),
            "admission": self._pacing.admission,
            "gates": self.gating,
        }
        race = Race(bench, self._attempt_budget, self._pacing.permits, around.tasks)
        learning = Learning(around.evidence, around.tasks, around.metrics.races.cascades)
        self.cascading = Cascading(tools, race, learning, admission=self._pacing.admission, side=self._sides)
        self.trials = Trials(tools.clock, tools.dialect, tasks=around.tasks, side=self._sides, tell=around.sampled)
        return Pipeline(
            Parts(
                clock=tools.clock,
                dialect=tools.dialect,
                race=race,
                executors={
                    "cascade": self.cascading.executor,
                    **voting(tools, race, bench.experience, tasks=around.tasks),
                },
                store=around.store,
                rates=self._pacing.rates,
                admission=self._pacing.admission,
                runs=around.runs,
                finish=Finish(tools.clock, observers, self._observer_failed, trials=self.trials),
                trials=self.trials,
                caches=self.remembering.caches,
                semantic=self.remembering.semantic,
                loops=self.loops,
                tasks=around.tasks,
                ledger_accepting=around.accepting,
                started=around.metrics.started,
                on_defect=self._defect,
                denied=around.denied,
                let_in=self.gating.enter,
                recorded=around.ledger.flush,
            )
        )

    def _observer_failed(self, name: str, error: Exception) -> None:
        self._around.metrics.observer_failed(name)
        self._around.log.event("observer failed", "error", {"observer": name, "error": type(error).__name__})

    def _count_failed(self, error: Exception) -> None:
        self._around.log.event("count failed", "warning", {"error": type(error).__name__})

    def _defect(self, error: BaseException) -> None:
        logging.getLogger("proxy").error("a call met a defect of the gate", exc_info=error)


def _affinity(config: Config) -> Affinity:
    """Raises OSError: workers tell each other by a file where runs are at home."""
    workers = config.server.workers
    return Affinity(shared_homes(config.data_dir) if workers > 1 else None, processes=workers)


def _edges(config: Config) -> Edges:
    return Edges(config.limits.head_timeout_s, config.limits.keepalive_s, config.limits.connections_max)
