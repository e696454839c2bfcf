"""Every block of the configuration, each field declared once: its type, its bounds, its default, a line for the docs.

Nothing is converted: a number is not text and text is not a number; switches alone also read `on` and `off`. What one
field cannot know of another (a target whose provider does not exist) is `config.check`'s business. Values are frozen:
a reload makes a new `Config` and swaps it whole. Relative paths start at the folder the gate is started in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, PrivateAttr, model_validator

from policies.limits import Limit
from proxy.config.affinity import PrefixAffinity
from proxy.config.batching import Batches
from proxy.config.books import Budgets, Ledger
from proxy.config.caching import Cache, Caches
from proxy.config.file import Place
from proxy.config.hedging import Hedging
from proxy.config.models import Model
from proxy.config.off_peak import Patient
from proxy.config.providers import Block, Paced, Provider
from proxy.config.run_rules import LoopGuarding, RunRules
from proxy.config.sharing import Shared
from proxy.config.survival import Surviving
from proxy.config.telemetry import Telemetry
from proxy.config.tree import Path as ValuePath
from proxy.config.tree import Value
from proxy.config.values import (
    FilePath,
    HostNames,
    ModelName,
    Name,
    Names,
    Pause,
    Port,
    Rungs,
    Seconds,
    Share,
    Switch,
    Text,
    TimeZone,
    Usd,
    usd_nanos,
)
from proxy.secret import Secret
from proxy.types import ContentPolicy, KeyRecord, Per, Priority, Unit

UNITS: tuple[Unit, ...] = get_args(Unit)
VERSION_DIGITS = 12


class Server(Block):
    """The data listener."""

    host: Text = Field(default="127.0.0.1", min_length=1, description="Its address; beyond loopback it needs keys.")
    port: Port = Field(default=8080, description="Its port; 0 takes a free one.")
    workers: int = Field(default=1, ge=1, le=64, description="Processes that serve; above 1, one more owns the books.")
    max_body_mb: int = Field(default=32, ge=1, le=1024, description="Largest request body, in MiB.")


class Admin(Block):
    """The listener for metrics and the admin API."""

    host: Text = Field(default="127.0.0.1", min_length=1, description="Its address; beyond loopback it needs a token.")
    port: Port = Field(default=8081, description="Its port; 0 takes a free one.")
    token: Secret | None = Field(
        default=None, description="Its bearer token; without one, whoever reaches it is trusted."
    )
    hosts: HostNames = Field(default=(), description="Names it may be asked by, beside the loopback ones.")


class Budget(Block):
    """One limit: exactly one unit, over one window."""

    usd: Usd | None = Field(default=None, description="Money, in USD.")
    tokens: int | None = Field(default=None, ge=0, description="Tokens of all classes.")
    requests: int | None = Field(default=None, ge=0, description="Calls.")
    steps: int | None = Field(default=None, ge=0, description="Calls of a run; with `per: run`.")
    concurrency: int | None = Field(default=None, ge=0, description="Calls at the same time; has no window.")
    per: Per = Field(default="total", description="The window, aligned to the calendar; `run`: the total of each run.")
    time_zone: TimeZone = Field(default="UTC", description="Whose calendar; such as Europe/Berlin.")
    hold: Literal["estimated", "strict"] = Field(
        default="estimated", description="`strict` holds an upper bound of the input, so that nothing can overrun."
    )
    soft: Switch = Field(default=False, description="Money only: holds what such calls usually cost, not the most.")

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        if len(self._given()) != 1:
            raise ValueError(f"a budget names exactly one of {', '.join(UNITS)}")
        self.limit()
        return self

    def limit(self) -> Limit:
        """Money becomes nano-dollars, rounded down."""
        unit, value = next(iter(self._given().items()))
        amount = usd_nanos(value) if isinstance(value, str) else value
        return Limit(unit, amount, self.per, self.time_zone, hold=self.hold, soft=self.soft)

    def _given(self) -> dict[Unit, str | int]:
        return {unit: value for unit in UNITS if (value := getattr(self, unit)) is not None}


BudgetList = Annotated[tuple[Budget, ...], Field(strict=False, max_length=32)]


class Key(Paced):
    """A key that callers present. One whose text is empty counts as absent."""

    key: Secret | None = Field(description="The key itself, best from the environment.")
    agent: Name = Field(default="any", description="Whose it is; `any`: the caller may name its own agent.")
    team: Name | None = Field(default=None, description="The team its costs belong to.")
    models: Names | None = Field(default=None, description="The configured models it may use; by default all.")
    budget: BudgetList = Field(default=(), description="What all calls with this key may take together.")


class Team(Block):
    """What the keys of one team may take together."""

    budget: BudgetList = Field(default=(), description="Limits of the whole team.")


class RetryRules(Block):
    attempts: int = Field(default=3, ge=1, le=10, description="Most attempts for one call, the first included.")
    budget: Share = Field(default=0.1, description="Retries allowed for each successful call, over all calls.")


class Defaults(Surviving, Patient):
    """What holds for every agent that does not say otherwise."""

    deadline_s: Seconds = Field(
        default=600.0, description="A whole call may take this long; a caller can only shorten it."
    )
    first_token_timeout_s: Seconds = Field(default=120.0, description="Longest wait for an answer's first content.")
    idle_timeout_s: Seconds = Field(default=60.0, description="Longest silence between two events of a stream.")
    budget: BudgetList = Field(default=(), description="What one agent may take; each agent has its own.")
    retry: RetryRules = Field(default=RetryRules(), description="Second tries, before the first byte to the client.")
    hedge: Switch = Field(default=True, description="Calls that are late may be sent a second time, elsewhere.")
    run: RunRules = Field(default=RunRules(), description="What each of an agent's runs may do.")
    on_budget: Rungs = Field(
        default=("cheaper", "shorter", "stop"), description="What happens to calls near the end of a budget."
    )
    priority: Priority = Field(default="standard", description="Whose calls go first where calls wait.")
    loops: LoopGuarding = Field(default=LoopGuarding(), description="What happens to runs that go round in circles.")
    cache: Cache = Field(default=Cache(), description="Which known answers its calls may be given.")
    content: ContentPolicy = Field(default="off", description="What is kept of the words of its calls; `off`: nothing.")


class Agent(Defaults):
    """One agent's own rules; what it leaves out is as under `defaults`."""

    models: Names | None = Field(default=None, description="The configured models it may use; by default all.")


class PriceOverride(Block):
    """The whole price of one model, in USD per million tokens; it stands before the price book."""

    input_usd_per_mtok: Usd = Field(description="Input.")
    output_usd_per_mtok: Usd = Field(description="Output.")
    input_cached_usd_per_mtok: Usd | None = Field(default=None, description="Input read from the provider's cache.")
    input_cache_write_5m_usd_per_mtok: Usd | None = Field(
        default=None, description="Input written to a 5 minute cache."
    )
    input_cache_write_1h_usd_per_mtok: Usd | None = Field(default=None, description="Input written to a 1 hour cache.")
    input_audio_usd_per_mtok: Usd | None = Field(default=None, description="Audio input.")
    input_image_usd_per_mtok: Usd | None = Field(default=None, description="Image input.")
    reasoning_usd_per_mtok: Usd | None = Field(default=None, description="Reasoning, where it differs from output.")
    output_audio_usd_per_mtok: Usd | None = Field(default=None, description="Audio output.")
    call_usd: Usd | None = Field(default=None, description="For each call, in USD.")
    long_context_above_tokens: int | None = Field(default=None, ge=1, description="With more input, the prices below.")
    long_context_input_usd_per_mtok: Usd | None = Field(default=None, description="Input of a long call.")
    long_context_output_usd_per_mtok: Usd | None = Field(default=None, description="Output of a long call.")
    long_context_input_cached_usd_per_mtok: Usd | None = Field(default=None, description="Cached input of a long call.")

    def written(self) -> dict[str, str]:
        """The fields that were given, as decimal text: binary fractions never touch a price."""
        return {str(path[0]): str(value) for path, value in leaves(self) if value is not None}


class Pricing(Block):
    unknown: Literal["refuse", "allow"] = Field(default="refuse", description="Calls to models without a price.")
    overrides: Mapping[Text, PriceOverride] = Field(default={}, description="Prices by `provider/model`.")
    table: FilePath | None = Field(
        default=None, description="A file of prices in LiteLLM's JSON format; before the book."
    )


class Limits(Block):
    """Bounds on what a client may take of the gate."""

    connections_max: int = Field(default=10_000, ge=1, le=1_000_000, description="Open client connections.")
    head_timeout_s: Seconds = Field(default=10.0, description="Longest wait for a whole request head.")
    body_timeout_s: Seconds = Field(default=10.0, description="A body may always take this long.")
    body_bytes_per_s: int = Field(default=16 * 1024, ge=1, description="A larger body may take its size at this speed.")
    write_timeout_s: Seconds = Field(default=30.0, description="Longest wait for a client to take what it asked for.")
    keepalive_s: Seconds = Field(default=75.0, description="Idle connections stay open this long.")
    heartbeat_s: Seconds = Field(default=15.0, description="A silent stream gets a comment this often.")
    stop_pause_s: Pause = Field(default=0.0, description="After a stop, not ready but still serving for so long.")
    drain_s: Seconds = Field(default=60.0, description="Running calls may end this long after a stop.")
    queue_wait_s: Pause = Field(default=10.0, description="A call waits so long for running calls, or for a target.")
    queue_max: int = Field(default=1_000, ge=0, le=100_000, description="So many calls may wait for either.")
    reply_max_mb: int = Field(default=64, ge=1, le=1024, description="Largest reply that is read, in MiB.")
    join_mb: int = Field(default=64, ge=0, le=4096, description="Running streams that retries can join, in MiB.")


class Config(Block):
    """One whole, checked configuration."""

    server: Server = Server()
    admin: Admin = Admin()
    data_dir: FilePath = Field(default=Path("headgate-data"), description="Ledger and keys.")
    keys: Annotated[tuple[Key, ...], Field(strict=False)] = Field(default=(), description="Keys that callers present.")
    providers: Mapping[Name, Provider] = Field(default={}, description="Accounts and engines, by name.")
    models: Mapping[ModelName, Model] = Field(default={}, description="What agents ask for; a last `*` fits any rest.")
    defaults: Defaults = Defaults()
    teams: Mapping[Name, Team] = Field(default={}, description="Budgets of teams; keys say which team they belong to.")
    budgets: Budgets = Budgets()
    ledger: Ledger = Ledger()
    hedging: Hedging = Hedging()
    affinity: PrefixAffinity = PrefixAffinity()
    caches: Caches = Caches()
    batches: Batches = Batches()
    shared: Shared = Shared()
    agents: Mapping[Name, Agent] = Field(default={}, description="Rules of single agents.")
    pricing: Pricing = Pricing()
    telemetry: Telemetry = Telemetry()
    limits: Limits = Limits()

    _source: Path | None = PrivateAttr(None)
    _file: str = PrivateAttr("")
    _places: Mapping[ValuePath, Place] = PrivateAttr(default_factory=dict)
    _values: dict[str, Value] = PrivateAttr(default_factory=dict)

    @property
    def source(self) -> Path | None:
        """The file it was read from, to be watched for changes."""
        return self._source

    @property
    def values(self) -> dict[str, Value]:
        """What it was built from, secrets included, for `config.carried` alone."""
        return self._values

    @cached_property
    def version(self) -> str:
        """Names the effective content: equal for equal values, wherever they came from. Secrets count by digest."""
        content = [(path, value.digest() if isinstance(value, Secret) else str(value)) for path, value in leaves(self)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:VERSION_DIGITS]

    @cached_property
    def revision(self) -> str:
        """Names what is made of models: equal where the same question gets the same answer."""
        told = [
            (path, str(value))
            for path, value in leaves(self)
            if path[0] in ("models", "providers") and not isinstance(value, Secret)
        ]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:VERSION_DIGITS]

    def rules(self, agent: str) -> Defaults:
        return self.agents.get(agent, self.defaults)

    def configured_keys(self) -> tuple[tuple[Secret, KeyRecord], ...]:
        """For the key ring, which names them: their `id` is empty here."""
        return tuple(
            (key.key, KeyRecord("", None if key.agent == "any" else key.agent, key.team, key.models))
            for key in self.keys
            if key.key
        )


def leaves(value: object, path: ValuePath = ()) -> Iterator[tuple[ValuePath, object]]:
    """Every single value with its path; an empty list or mapping counts as one."""
    if isinstance(value, Block):
        for name in type(value).model_fields:
            yield from leaves(getattr(value, name), (*path, name))
    elif isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from leaves(item, (*path, str(key)))
    elif isinstance(value, tuple) and value:
        for at, item in enumerate(value):
            yield from leaves(item, (*path, at))
    else:
        yield path, value
