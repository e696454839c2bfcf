"""From a checked configuration to the snapshot that calls run under: providers, targets with prices, routes, rules.

Nothing is started here and nothing is asked of the network; a configuration that cannot be assembled raises ValueError
and leaves the running snapshot as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from msgspec import Struct

from policies.limits import Limit, LimitsByName
from policies.plan import Planner, Routes
from policies.retry import Retry
from policies.written import limit_of
from pricing.gpu import GpuRate
from proxy.clock import Clock, today
from proxy.config.load import Config
from proxy.config.paces import Paces, paces
from proxy.config.pools import pools
from proxy.config.providers import OpenAIProvider, SimulatedProvider
from proxy.config.schema import Agent, Budget, Defaults
from proxy.config.upstreams import account, simulation
from proxy.dialects.base import Dialect
from proxy.execution.gate_desk import Pool
from proxy.money.gpus import Gpus
from proxy.providers.base import Provider
from proxy.providers.openai_compatible import Account, OpenAICompatible
from proxy.providers.simulated import SimulatedTransport, Simulation
from proxy.providers.transport import HttpTransport
from proxy.snapshot import AgentRules, Keyring, Limits, Snapshot
from proxy.targets import Targets, experiments_of, prices_of, routes_of
from proxy.types import Target

MIB = 1024 * 1024


class Transports:
    """One pool of connections for each connect timeout that a provider asks for, shared by all configurations."""

    def __init__(self) -> None:
        self._made: dict[float, HttpTransport] = {}

    def __repr__(self) -> str:
        return f"Transports({self._made})"

    def get(self, connect_s: float) -> HttpTransport:
        transport = self._made.get(connect_s)
        if transport is None:
            transport = self._made[connect_s] = HttpTransport(connect_s=connect_s)
        return transport

    async def close(self) -> None:
        for transport in self._made.values():
            await transport.close()


class Tools(Struct, frozen=True):
    """What outlives a configuration and is shared by all of them."""

    clock: Clock
    dialect: Dialect
    transports: Transports  # to real upstreams
    simulations: dict[tuple[str, Simulation], SimulatedTransport]  # so that a reload goes on in the same world
    gpus: Gpus


class Keys(Keyring, Protocol):
    def budget(self, id: str) -> tuple[str, ...]:
        """What a stored key brings with it."""
        ...


class Rules(Struct, frozen=True):
    """The limits of every account that has some: those of the configuration, and those that stored keys bring."""

    configured: LimitsByName
    brought: Callable[[str], tuple[str, ...]]

    def limits(self, account: str) -> tuple[Limit, ...]:
        kind, _, id = account.partition(":")
        if kind == "key" and account not in self.configured.named:
            return tuple(limit_of(text) for text in self.brought(id))
        return self.configured.limits(account)


class Assembled(Struct, frozen=True):
    snapshot: Snapshot
    rulebook: Rules
    targets: Targets
    metered: tuple[Target, ...]
    paces: Paces
    pools: tuple[Pool, ...]


def assemble(config: Config, tools: Tools, keyring: Keys) -> Assembled:
    prices = prices_of(config, today(tools.clock))
    providers = {name: _provider(name, settings, tools) for name, settings in config.providers.items()}
    for name, rate in gpu_rates(config).items():
        providers[name].gpu = tools.gpus.meter(name, rate)
    targets = Targets(config, prices)
    snapshot = Snapshot(
        version=config.version,
        planner=Planner(routes_of(config, targets), unpriced_allowed=config.pricing.unknown == "allow"),
        providers=providers,
        keyring=keyring,
        agents={name: _rules(agent, agent.models) for name, agent in config.agents.items()},
        default_rules=_rules(config.defaults, None),
        limits=_limits(config),
        cascades={name: model.cascade() for name, model in config.models.items() if model.mode == "cascade"},
        votes={name: model.votes() for name, model in config.models.items() if model.members},
        experiments=experiments_of(config),
        batches=config.batches.rules(),
        strict=config.ledger.strict,
        revision=config.revision,
        keeps_content=any(rules.content != "off" for rules in (config.defaults, *config.agents.values())),
    )
    metered = metered_targets(config, snapshot.planner.routes)
    return Assembled(
        snapshot,
        rulebook(config, keyring),
        targets,
        metered,
        paces(config, keyring),
        pools(config, snapshot.planner.routes),
    )


def gpu_rates(config: Config) -> dict[str, GpuRate]:
    """Of the providers whose hours have a price."""
    return {name: provider.gpu.rate for name, provider in config.providers.items() if provider.gpu is not None}


def rulebook(config: Config, keyring: Keys) -> Rules:
    """What an agent leaves out is as under `defaults`."""
    found = {f"agent:{name}": _limits_of(agent.budget) for name, agent in config.agents.items()}
    found |= {f"team:{name}": _limits_of(team.budget) for name, team in config.teams.items()}
    for key in config.keys:
        if key.key is not None and key.budget and (record := keyring.identify(key.key.reveal())) is not None:
            found[f"key:{record.id}"] = _limits_of(key.budget)
    return Rules(LimitsByName(found, {"agent": _limits_of(config.defaults.budget)}), keyring.budget)


def _limits_of(budget: Iterable[Budget]) -> tuple[Limit, ...]:
    return tuple(each.limit() for each in budget)


def metered_targets(config: Config, routes: Routes) -> tuple[Target, ...]:
    """Every target that metrics can foresee; a wildcard's provider is one target with the model `*`."""
    wild = dict.fromkeys(
        choice.provider for name, model in config.models.items() if name.endswith("*") for choice in model.targets
    )
    passed = (Target(id=f"{name}/*", provider=name, model="*", price=None) for name in wild)
    return (*dict.fromkeys(routes.fixed_targets), *passed)


def _provider(name: str, settings: OpenAIProvider | SimulatedProvider, tools: Tools) -> Provider:
    if isinstance(settings, SimulatedProvider):
        return _simulated(name, settings, tools)
    return OpenAICompatible(
        name,
        account(settings),
        dialect=tools.dialect,
        transport=tools.transports.get(settings.connect_timeout_s),
        clock=tools.clock,
    )


def _simulated(name: str, settings: SimulatedProvider, tools: Tools) -> Provider:
    simulated = simulation(settings)
    transport = tools.simulations.get((name, simulated))
    if transport is None:
        transport = tools.simulations[name, simulated] = SimulatedTransport(simulated, tools.clock)
    own = Account(engine="simulated")
    return OpenAICompatible(name, own, dialect=tools.dialect, transport=transport, clock=tools.clock)


def _rules(rules: Defaults | Agent, models: Iterable[str] | None) -> AgentRules:
    return AgentRules(
        models=None if models is None else frozenset(models),
        deadline_s=rules.deadline_s,
        window_s=rules.batch.window_s or rules.deadline_s,
        first_token_timeout_s=rules.first_token_timeout_s,
        idle_timeout_s=rules.idle_timeout_s,
        retry=Retry(attempts=rules.retry.attempts),
        hedge=rules.hedge,
        on_budget=rules.on_budget,
        run=rules.run.limits(),
        priority=rules.priority,
        survival=rules.survival(),
        cache=rules.cache.rules(),
        loops=rules.loops.rules(),
        content=rules.content,
    )


def _limits(config: Config) -> Limits:
    limits = config.limits
    return Limits(
        body_bytes_max=config.server.max_body_mb * MIB,
        body_floor_s=limits.body_timeout_s,
        body_bytes_a_second=limits.body_bytes_per_s,
        reply_bytes_max=limits.reply_max_mb * MIB,
        write_timeout_s=limits.write_timeout_s,
        heartbeat_s=limits.heartbeat_s,
        drain_s=limits.drain_s,
        join_bytes_max=limits.join_mb * MIB,
        eased_max=config.budgets.waiting_max,
    )
