"""One checked picture of the configuration, as a call sees it from its first step to its last.

A reload makes a new snapshot and swaps it whole; calls that run keep the one they began with. Policies are handed the
values they need, never this object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from policies.accept_rules import CascadeRules
from policies.cache_rules import CacheRules
from policies.experiment import Experiment
from policies.ladder import Ladder
from policies.loops import LoopRules
from policies.plan import Planner
from policies.retry import Retry
from policies.runs import NO_LIMITS, RunLimits
from policies.survival import Survival
from policies.vote import VoteRules
from proxy.providers.base import Provider
from proxy.types import Call, ContentPolicy, KeyRecord, Priority


class Keyring(Protocol):
    def identify(self, presented: str) -> KeyRecord | None:
        """The key's record, or None: unknown, expired and revoked look alike."""
        ...

    def of(self, id: str) -> KeyRecord | None:
        """The same of a key that was identified before."""
        ...


class AgentRules(Struct, frozen=True):
    """What holds for the calls of one agent; the defaults are those of the configuration file."""

    models: frozenset[str] | None = None  # None: all
    deadline_s: float = 600.0
    window_s: float = 600.0  # the same of its calls of priority `batch`
    first_token_timeout_s: float = 120.0
    idle_timeout_s: float = 60.0
    retry: Retry = Retry()
    hedge: bool = True  # late calls may be sent a second time, elsewhere
    on_budget: Ladder = ()
    run: RunLimits = NO_LIMITS  # of each of its runs
    priority: Priority = "standard"  # of its calls, at most
    survival: Survival = Survival()  # of its streams
    cache: CacheRules = CacheRules()
    loops: LoopRules = LoopRules()  # of its runs that go round in circles
    content: ContentPolicy = "off"  # what is kept of the words of its calls


class Limits(Struct, frozen=True):
    """Bounds on what one client may send and how long it may take."""

    body_bytes_max: int = 32 * 1024 * 1024
    body_floor_s: float = 10.0  # a body may take this long, or its size at `body_bytes_a_second`
    body_bytes_a_second: int = 16 * 1024
    reply_bytes_max: int = 64 * 1024 * 1024
    write_timeout_s: float = 30.0
    heartbeat_s: float = 15.0
    drain_s: float = 60.0
    join_bytes_max: int = 64 * 1024 * 1024  # of running streams, kept for those who ask for them again
    eased_max: int = 1_000  # calls that may wait for a budget to ease


class BatchRules(Struct, frozen=True):
    """Bounds on batches and their files. Bytes and seconds."""

    file: int = 64 * 1024 * 1024  # the largest that is taken
    files: int = 4 * 1024 * 1024 * 1024  # of all that is kept
    kept_s: float = 30 * 86_400.0
    lines_max: int = 50_000
    concurrency: int = 8  # lines that are asked at the same time, of all batches; 0: there are none


class Snapshot(Struct, frozen=True):
    version: str
    planner: Planner
    providers: Mapping[str, Provider]
    keyring: Keyring
    agents: Mapping[str, AgentRules]
    default_rules: AgentRules = AgentRules()
    limits: Limits = Limits()
    revision: str = ""  # of what the configuration makes of models: what was known under another one is not used
    cascades: Mapping[str, CascadeRules] = {}  # of the models of that mode
    votes: Mapping[str, VoteRules] = {}  # of quorums and debates
    experiments: Mapping[str, Experiment] = {}  # by the model that is one
    batches: BatchRules = BatchRules()
    strict: bool = False  # a reply ends only once its call is on the disk
    keeps_content: bool = False  # some agent's words are kept

    def rules(self, agent: str) -> AgentRules:
        return self.agents.get(agent, self.default_rules)

    def revision_of(self, call: Call) -> str:
        """The same for one call: what an arm of an experiment has answered is not known to the other."""
        experiment = self.experiments.get(call.route)
        arm = None if experiment is None else experiment.assign(call)
        return self.revision if arm is None else f"{self.revision} {arm.name}"
