"""One configuration under recorded traffic: the gate's own pipeline, in virtual time, before modelled targets.

The data plane is the one that serves; only its listener is never opened, its ledger is a list, and every provider's
transport is a model. What a configuration would ask outside of the gate (judges, verifiers, embeddings, patterns over
texts that nobody recorded) is left out, and named.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct, structs

from loadtests.replay.recorded import Asked, Run
from loadtests.replay.world import BLOCK_TOKENS
from policies.accept_rules import CascadeRules
from policies.accounts import Accounts
from policies.limits import Crossing, Refusal
from pricing.tokens import input_estimate
from proxy.assemble import Assembled
from proxy.assembly import Assembly
from proxy.config.load import Config
from proxy.config.providers import OpenAIProvider, SimulatedProvider
from proxy.config.values import usd_nanos
from proxy.data_plane import DataPlane, Surroundings
from proxy.execution.evidence import Evidence
from proxy.instruments import gate_desk, metrics_of
from proxy.money.budgets import Budgets, Waiting
from proxy.providers.engines import ENGINES
from proxy.runs.registry import Runs
from proxy.side_calls import Heard
from proxy.simulate.cards import Cards, body
from proxy.simulate.target import RIGHT, Character, Modelled, Quality
from proxy.simulate.virtual import VirtualClock
from proxy.tasks import Tasks
from proxy.telemetry.log import RequestLog
from proxy.types import Call, Charge, Identity, Outcome

BEGAN_WALL: Final = 1_790_000_000.0
VENDOR_BLOCKS, ENGINE_BLOCKS = 100_000, 1_500  # of 512 tokens, where nothing is said of an engine's memory
AGENT: Final = "simulated"
UNMODELLED_GATES: Final = frozenset({"regex", "logprob"})


class Setting(Struct, frozen=True):
    """What holds for both sides of a comparison. `model`: what all calls ask for; None: what was recorded."""

    seed: int = 1
    model: str | None = None
    quality: Quality = Quality()


class Ended(Struct, frozen=True):
    """One recorded call, served. `right` None: it got no answer."""

    outcome: Outcome
    right: bool | None


class Lived(Struct, frozen=True):
    """`ended` in the order of the trace; `aside`: calls that the gate made itself. Seconds are virtual."""

    ended: tuple[Ended, ...]
    aside: tuple[Outcome, ...]
    runs_s: tuple[float, ...]
    left_out: tuple[str, ...]


class UnknownModel(ValueError):
    """The text says which models the configuration has."""


class _Books:
    """Implements `Appendable` and the listener of budgets."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}

    def append(self, outcome: Outcome) -> None:
        self.outcomes[outcome.call.id] = outcome

    async def flush(self) -> None:
        """All of it is as safe as it will be."""

    def crossed(self, crossing: Crossing) -> None:
        """Nobody is told."""

    def overran(self, charge: Charge) -> None:
        """Nobody is told."""

    def charged(self, charges: tuple[Charge, ...]) -> None:
        """Nobody is told."""

    def denied(self, refusal: Refusal) -> None:
        """Nobody is told."""


async def lived(
    config: Config, runs: Sequence[Run], setting: Setting, *, folder: Path, step: Callable[[], None]
) -> Lived:
    """`folder`: an empty one; `step` is told of each call that has ended. Raises UnknownModel, ValueError."""
    with _world(config, setting, folder) as world:
        world.cards.deal(runs, setting.seed)
        served = await asyncio.gather(*[world.run(run, step) for run in runs])
        await world.tasks.close(grace_s=600.0)
        if world.defects:
            raise world.defects[0]
        own = {ended.outcome.call.id for ends, _ in served for ended in ends}
        aside = tuple([outcome for id, outcome in world.books.outcomes.items() if id not in own])
        ended = tuple([ended for ends, _ in served for ended in ends])
        return Lived(ended, aside, tuple([lasted for _, lasted in served]), world.left_out)


class _World:
    def __init__(self, config: Config, setting: Setting, log: RequestLog) -> None:
        self.clock = VirtualClock(setting.seed, BEGAN_WALL)
        self.books = _Books()
        self.defects: list[BaseException] = []
        self.tasks = Tasks(lambda name, error: self.defects.append(error))
        self.assembly = Assembly(config, self.clock)
        self.cards = Cards()
        self._setting = setting
        self.left_out = self._model(config)
        self._plane = DataPlane(socket.socket(), self._surroundings(config, log))

    async def run(self, run: Run, step: Callable[[], None]) -> tuple[list[Ended], float]:
        await asyncio.sleep(run.begins_s)
        began_at, ended = self.clock.now(), list[Ended]()
        for asked in run.calls:
            await asyncio.sleep(asked.think_s)
            ended.append(await self._ask(asked, run.name))
            step()
        return ended, self.clock.now() - began_at

    async def _ask(self, asked: Asked, run: str | None) -> Ended:
        snapshot, clock = self.assembly.snapshot, self.clock
        model = self._named(asked)
        raw = body(asked, self.cards.of(asked), model)
        agent, now = asked.agent or AGENT, clock.now()
        route = snapshot.planner.routes.find(model)
        call = Call(
            id=clock.id(),
            endpoint="chat",
            dialect="openai",
            route="" if route is None else route.name,
            head=self.assembly.tools.dialect.read("chat", raw, "application/json"),
            raw=raw,
            identity=Identity(key_id="simulated", agent=agent, agent_source="key", run=run),
            arrived_at=now,
            arrived_wall=clock.wall(),
            deadline=now + snapshot.rules(agent).deadline_s,
            input_tokens_estimate=input_estimate(raw),
            trace_id=clock.id(),
            priority=snapshot.rules(agent).priority,
        )
        heard = Heard()
        await self._plane.pipeline.serve(call, heard, snapshot)
        outcome = self.books.outcomes[call.id]
        answered = outcome.error_code is None and outcome.status == 200
        return Ended(outcome, RIGHT.encode() in heard.body if answered else None)

    def _named(self, asked: Asked) -> str:
        """Raises UnknownModel."""
        routes = self.assembly.snapshot.planner.routes
        wanted = self._setting.model or asked.model
        if wanted and routes.find(wanted) is not None:
            return wanted
        if self._setting.model is None and len(routes.listed) == 1:
            return routes.listed[0]
        known = ", ".join(routes.listed) or "none"
        raise UnknownModel(f"the configuration has no model {wanted!r} (there are {known}): name one with --model")

    def _model(self, config: Config) -> tuple[str, ...]:
        """Puts models in the place of what is outside; returns what has none."""
        present = self.assembly.present
        for name, provider in present.snapshot.providers.items():
            provider.transport = Modelled(
                name,
                character(config.providers[name]),
                quality=self._setting.quality,
                cards=self.cards,
                clock=self.clock,
            )
        self.assembly.present, left_out = closed(present)
        return left_out

    def _surroundings(self, config: Config, log: RequestLog) -> Surroundings:
        metrics, present = metrics_of(self.assembly), self.assembly.present
        tolerance = usd_nanos(config.budgets.overrun_tolerance_usd)
        accounts = Accounts(present.rulebook, overrun_tolerance_usd_nanos=tolerance)
        return Surroundings(
            assembly=self.assembly,
            log=log,
            metrics=metrics,
            tasks=self.tasks,
            store=Budgets(accounts, self.clock, self.books, Waiting(config.budgets.wait_s, config.budgets.waiting_max)),
            runs=Runs(self.clock),
            ledger=self.books,
            gates=gate_desk(self.assembly, self.clock, metrics),
            evidence=Evidence(self.clock, lambda: self.assembly.snapshot.cascades),
            accepting=lambda: True,
            ready=lambda: True,
        )


@contextmanager
def _world(config: Config, setting: Setting, folder: Path) -> Iterator[_World]:
    quiet = {
        "data_dir": folder / "data",
        "server": config.server.model_copy(update={"workers": 1}),
        "telemetry": config.telemetry.model_copy(update={"otlp": None, "log_calls": "off"}),
        "caches": config.caches.model_copy(update={"persist": False}),
    }
    with Path(os.devnull).open("wb", buffering=0) as nowhere:
        log = RequestLog(nowhere, lambda: BEGAN_WALL)
        try:
            yield _World(config.model_copy(update=quiet), setting, log)
        finally:
            log.close()


def character(provider: OpenAIProvider | SimulatedProvider) -> Character:
    """What is known of a provider from its configuration."""
    if isinstance(provider, SimulatedProvider):
        first, token = provider.first_token_s, provider.token_s
        return Character(False, VENDOR_BLOCKS, first.median, first.sigma, token.median)
    own = ENGINES[provider.engine].traits("").prefix_cache if provider.prefix_cache is None else provider.prefix_cache
    if not own:
        return Character(False, VENDOR_BLOCKS)
    return Character(True, ENGINE_BLOCKS if provider.kv_tokens is None else provider.kv_tokens // BLOCK_TOKENS)


def closed(assembled: Assembled) -> tuple[Assembled, tuple[str, ...]]:
    """Without what would ask outside of the gate or read texts that nobody recorded, and the names of that."""
    snapshot, left_out = assembled.snapshot, list[str]()
    cascades = {}
    for name, rules in snapshot.cascades.items():
        cascades[name], gone = _closed(rules)
        left_out += [f"{name}: {each}" for each in gone]
    agents = {}
    for name, agent in (*snapshot.agents.items(), ("defaults", snapshot.default_rules)):
        agents[name] = structs.replace(agent, cache=structs.replace(agent.cache, semantic=None))
        left_out += [f"{name}: semantic cache"] if agent.cache.semantic is not None else []
    default = agents.pop("defaults")
    kept = structs.replace(snapshot, cascades=cascades, agents=agents, default_rules=default)
    return structs.replace(assembled, snapshot=kept), tuple(left_out)


def _closed(rules: CascadeRules) -> tuple[CascadeRules, list[str]]:
    gone: list[str] = [gate for gate in rules.accept if gate in UNMODELLED_GATES]
    gone += [name for name in ("judge", "verify") if getattr(rules, name) is not None]
    accept = tuple([gate for gate in rules.accept if gate not in UNMODELLED_GATES])
    return structs.replace(rules, accept=accept, judge=None, verify=None), gone
