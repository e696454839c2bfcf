"""One seed, one world: vendors, a gate, clients, an operator; run to the end and told as a `Run`.

The pipeline, the race, the exchanges, the relay, the settlement, the store, the observers and, in some seeds, the
ledger are the real ones; only the upstream's and the client's bytes are made up. `python -m tests.sim SEED`
prints what happened.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

from msgspec import Struct, structs

from policies.plan import Planner, Route, Routes
from policies.retry import AttemptBudget, Retry
from proxy.dialects.openai_chat import OpenAI
from proxy.execution.admission import Admission
from proxy.execution.bench import Bench
from proxy.execution.race import Race
from proxy.execution.steering import Steering
from proxy.finish import Finish, Observer, Recorder
from proxy.parts import Parts
from proxy.pipeline import Pipeline
from proxy.providers.openai_compatible import Account
from proxy.providers.simulated import SimulatedTransport, Simulation, Spread
from proxy.runs.registry import Runs
from proxy.snapshot import AgentRules, Limits, Snapshot
from proxy.state.ledger import Ledger
from proxy.tasks import Tasks
from proxy.types import AbortRule, KeyRecord, Outcome, Price, Target, Traits
from tests.build import PRICE
from tests.known import caches
from tests.money import WatchedBudgets
from tests.rates import permits, rate_limits
from tests.sim.client import Asking, Habits, Sdk
from tests.sim.scenes import SCENES, Scenes
from tests.sim.vendor import Numbered, Sale, ScriptedVendor, SimulatedVendor, Tagged
from tests.sim.virtual import SeededClock, run

ODD = structs.replace(PRICE, id="odd", input_uncached=333_333, output=777_777, input_cached=12_345, per_call=1_001)
TINY = structs.replace(PRICE, id="tiny", input_uncached=1, output=1, input_cached=1, input_cache_write_5m=1)
DEAR = structs.replace(PRICE, id="dear", input_uncached=2_000_003, output=3_000_001, input_cached=200_000)
LONG = structs.replace(PRICE, id="long", long_context_above=100, long_context=DEAR)
PRICES: tuple[Price | None, ...] = (PRICE, PRICE, ODD, TINY, LONG, None)
LEDGER_STEP_S = 0.5
AFTERWARDS_S = 120.0  # of virtual time, in which whatever the gate still does must come to its end


class Nobody:
    def identify(self, presented: str) -> KeyRecord | None:
        return None

    def of(self, id: str) -> KeyRecord | None:
        return None


class Run(Struct):
    """What is left of a world for the checks."""

    seed: int
    askings: list[Asking]
    outcomes: list[Outcome]
    sales: list[Sale]
    bills_on: dict[str, bool]
    store: WatchedBudgets
    begun: int
    ended: int
    defects: list[BaseException]
    tasks_left: int
    duration_s: float
    budget: tuple[float, float]
    attempts_started: int
    attempts_ended: int
    ledger_usd_nanos: int | None = None
    ledger_rows: int | None = None

    def trace(self) -> list[str]:
        told = [f"{outcome!r}" for outcome in self.outcomes]
        told += [f"{asking.wire.__dict__!r}" for asking in self.askings]
        return told + [f"{sale!r}" for sale in self.sales]


class World:
    def __init__(self, seed: int, folder: Path | None) -> None:
        rng = self._rng = Random(seed)
        self.seed = seed
        self.clock = SeededClock(seed)
        self.rates, self.permits = rate_limits(self.clock), permits(self.clock)
        self.dialect = OpenAI()
        self.store = WatchedBudgets(self.clock)
        self.outcomes: list[Outcome] = []
        self.defects: list[BaseException] = []
        self.tasks = Tasks(lambda name, error: self.defects.append(error))
        self.budget = (rng.choice((0.0, 0.1)), rng.choice((1.0, 3.0, 10.0)))
        self._counts = [0, 0]
        self.ledger = None if folder is None else Ledger.open(folder / f"ledger-{seed}.db")
        self.pipeline = self._new_pipeline()
        self.bills_on: dict[str, bool] = {}
        numbered = Numbered()
        self._vendors = [self._new_vendor(f"v{number}", numbered) for number in range(rng.randint(1, 3))]
        self._rules: dict[str, AbortRule] = {vendor.name: self._rule(vendor) for vendor in self._vendors}
        self.snapshot = self._new_snapshot("one")
        self._sdks = [self._new_sdk(f"agent-{number}") for number in range(rng.randint(2, 6))]

    def observe(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if self.ledger is not None and len(self.outcomes) % 7 == 0:
            asyncio.get_running_loop().call_later(LEDGER_STEP_S, self.ledger.step)

    async def live(self) -> Run:
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self._rng.random() < 0.3:
            loop.call_later(self._rng.uniform(1, 20), self._reload)
        async with asyncio.TaskGroup() as group:
            for sdk in self._sdks:
                group.create_task(sdk.run())
        clients_done = loop.time()
        await asyncio.sleep(AFTERWARDS_S)
        return self._told(clients_done - began)

    def _told(self, duration_s: float) -> Run:
        told = Run(
            seed=self.seed,
            askings=[asking for sdk in self._sdks for asking in sdk.asked],
            outcomes=self.outcomes,
            sales=[sale for vendor in self._vendors for sale in vendor.sales],
            bills_on=self.bills_on,
            store=self.store,
            begun=self.pipeline.begun,
            ended=self.pipeline.begun - self.pipeline.in_flight,
            defects=self.defects,
            tasks_left=len(asyncio.all_tasks()) - 1 + len(self.tasks),
            duration_s=duration_s,
            budget=self.budget,
            attempts_started=self._counts[0],
            attempts_ended=self._counts[1],
        )
        if self.ledger is not None:
            while self.ledger.step():
                pass
            told.ledger_usd_nanos, told.ledger_rows = self.ledger.posted_usd_nanos, self.ledger.written
            self.ledger.close()
        return told

    def _new_pipeline(self) -> Pipeline:
        observers: dict[str, Observer] = {"list": self}
        if self.ledger is not None:
            observers["ledger"] = Recorder(self.ledger)
        bench = Bench(self.clock, _count_text, self._started, self._ended, Steering(self.clock))
        return Pipeline(
            Parts(
                clock=self.clock,
                dialect=self.dialect,
                race=Race(bench, AttemptBudget(*self.budget), self.permits, self.tasks),
                store=self.store,
                rates=self.rates,
                admission=Admission(self.permits, self.clock),
                runs=Runs(self.clock),
                caches=caches(self.clock),
                finish=Finish(self.clock, observers, lambda name, error: self.defects.append(error)),
                tasks=self.tasks,
                ledger_accepting=lambda: self.ledger is None or self.ledger.accepting,
                started=lambda route: None,
                on_defect=self.defects.append,
            )
        )

    def _new_vendor(self, name: str, numbered: Numbered) -> ScriptedVendor | SimulatedVendor:
        rng = self._rng
        if rng.random() < 0.3:
            self.bills_on[name] = False
            return SimulatedVendor(name, numbered, SimulatedTransport(self._simulation(), self.clock))
        enabled = tuple(rng.sample(SCENES, rng.randint(0, 8)))
        scenes = Scenes(name, Random(rng.random()), enabled=enabled, share=rng.choice((0.2, 0.5, 0.9)))
        self.bills_on[name] = rng.random() < 0.5
        return ScriptedVendor(name, numbered, scenes, bills_on=self.bills_on[name])

    def _simulation(self) -> Simulation:
        rng = self._rng
        faults = tuple((status, rng.uniform(0, 0.2)) for status in (429, 500, 503) if rng.random() < 0.5)
        return Simulation(
            seed=rng.getrandbits(30),
            first_token_s=Spread(rng.uniform(0.1, 2.0)),
            output_tokens=Spread(rng.choice((5, 20))),
            stall_share=rng.choice((0.0, 0.3)),
            stall_s=rng.choice((1.0, 30.0)),
            errors=faults,
            retry_after_s=rng.choice((0.5, 3.0)),
            cut_share=rng.choice((0.0, 0.3)),
        )

    def _rule(self, vendor: ScriptedVendor | SimulatedVendor) -> AbortRule:
        """What the operator said of a vendor; "unknown" is true of both kinds."""
        if self._rng.random() < 0.4:
            return "unknown"
        return "continues" if self.bills_on[vendor.name] else "stops"

    def _new_snapshot(self, version: str) -> Snapshot:
        rng = self._rng
        account = Account(base_url="http://vendor.invalid/v1", api_key="sk-simulated-credential")
        targets = []
        for vendor in self._vendors:
            traits = Traits(
                abort=self._rules[vendor.name],
                vocabulary=rng.choice((None, "o200k_base")),
                stream_usage=rng.random() < 0.8,
            )
            targets.append(
                Target(
                    id=f"{vendor.name}/real",
                    provider=vendor.name,
                    model="real",
                    price=rng.choice(PRICES),
                    traits=traits,
                    weight=rng.choice((0.0, 1.0, 3.0)),
                    failure_domain=vendor.name,
                )
            )
        routes = Routes((Route("m0", tuple(targets)), Route("m1", (rng.choice(targets),))))
        rules = AgentRules(
            deadline_s=60.0,
            first_token_timeout_s=rng.uniform(3, 15),
            idle_timeout_s=rng.uniform(2, 8),
            retry=Retry(attempts=rng.randint(1, 3)),
        )
        providers = {
            vendor.name: Tagged(vendor.name, account, dialect=self.dialect, transport=vendor, clock=self.clock)
            for vendor in self._vendors
        }
        return Snapshot(
            version=version,
            planner=Planner(routes, unpriced_allowed=rng.random() < 0.8),
            providers=providers,
            keyring=Nobody(),
            agents={},
            default_rules=rules,
            limits=Limits(write_timeout_s=5.0, heartbeat_s=1.0, drain_s=20.0),
        )

    def _new_sdk(self, name: str) -> Sdk:
        rng = self._rng
        habits = Habits(
            name=name,
            calls=rng.randint(1, 4),
            stream_share=rng.choice((0.0, 0.7, 1.0)),
            leaves_share=rng.choice((0.0, 0.3, 0.8)),
            slow_share=rng.choice((0.0, 0.3)),
            stuck_share=rng.choice((0.0, 0.1)),
            deadline_share=rng.choice((0.0, 0.3)),
            run=rng.choice((None, "run-1", f"run-{name}")),
        )
        return Sdk(habits, self, Random(rng.random()), rng.choice((("m0",), ("m0", "m1"), ("m0", "m1", "absent"))))

    def _reload(self) -> None:
        self.snapshot = self._new_snapshot("two")

    def _started(self, target: Target) -> None:
        self._counts[0] += 1

    def _ended(self, target: Target) -> None:
        self._counts[1] += 1


async def _count_text(text: str, vocabulary: str) -> int:
    await asyncio.sleep(0.01)  # as a thread would take
    return max(1, len(text) // 4)


def live(seed: int, folder: Path | None = None) -> Run:
    async def main() -> Run:
        return await World(seed, folder).live()

    return run(main())
