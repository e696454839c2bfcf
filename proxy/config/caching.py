"""Which known answers an agent's calls may be given, and how much room there is for them: the fields, their rules."""

from __future__ import annotations

from pydantic import Field

from policies.cache_rules import CacheRules, Exact, Replay, Scope
from policies.semantic.rules import SemanticRules
from proxy.caching.stock import Bounds
from proxy.config.providers import Block
from proxy.config.values import ModelName, Pause, Seconds, Switch, Usd, usd_nanos

MIB = 1024 * 1024


class Semantic(Block):
    """Answers to questions that mean the same. It needs the extra `headgate[semantic]`."""

    model: ModelName = Field(description="The configured model that embeds questions.")
    max_error: float = Field(default=0.01, gt=0, le=0.2, description="Share of lookups that may be answered wrongly.")
    ttl_s: Seconds | None = Field(
        default=None, description="An entry's life; unset: a day, and questions about the present are not looked up."
    )
    dimensions: int | None = Field(
        default=None, ge=16, le=4_096, description="Numbers of a vector, where it can choose."
    )
    timeout_ms: int = Field(default=200, ge=1, le=10_000, description="An embedding that takes longer is a miss.")
    judge: ModelName | None = Field(default=None, description="The configured model that compares long answers.")
    judge_budget: Usd = Field(default="1", description="What the judge may cost a day, in USD.")

    def rules(self) -> SemanticRules:
        return SemanticRules(
            model=self.model,
            error_max=self.max_error,
            ttl_s=self.ttl_s,
            dimensions=self.dimensions,
            timeout_s=self.timeout_ms / 1_000,
            judge=self.judge,
            judge_usd_nanos=usd_nanos(self.judge_budget),
        )


class Cache(Block):
    """Answers that are known already."""

    exact: Exact = Field(
        default="off",
        description="The same request again: `off`, `deterministic` (at temperature 0, and embeddings) or `on`.",
    )
    ttl_s: Seconds = Field(default=3_600.0, description="An answer is fresh for so long.")
    stale_s: Pause = Field(default=0.0, description="So much longer it is served, while a new one is fetched.")
    scope: Scope = Field(default="agent", description="Who may be given it: the `agent` alone, or all of its `team`.")
    replay: Replay = Field(
        default="keyed", description="Calls never billed twice: those with an Idempotency-Key; or all of a `run`."
    )

    semantic: Semantic | None = Field(default=None, description="Answers to questions that mean the same; off.")

    def rules(self) -> CacheRules:
        return CacheRules(
            exact=self.exact,
            ttl_s=self.ttl_s,
            stale_s=self.stale_s,
            scope=self.scope,
            replay=self.replay,
            semantic=None if self.semantic is None else self.semantic.rules(),
        )


class Caches(Block):
    """Room for answers, of each process in memory and of all of them on the disk."""

    memory_mb: int = Field(default=256, ge=0, le=65_536, description="Exact answers in memory, in MiB.")
    entry_max_kb: int = Field(default=1_024, ge=1, le=1_024, description="The longest that is kept, in KiB.")
    disk_mb: int = Field(default=1_024, ge=0, le=1_048_576, description="Exact answers on the disk, in MiB.")
    replay_mb: int = Field(default=1_024, ge=1, le=1_048_576, description="Answers for replays, in MiB.")
    replay_ttl_s: Seconds = Field(default=86_400.0, description="A call can be replayed for so long.")
    semantic_mb: int = Field(default=256, ge=1, le=65_536, description="Semantic entries in memory, in MiB.")
    persist: Switch = Field(default=True, description="Answers are written to the disk; else in memory alone.")

    def bounds(self) -> Bounds:
        return Bounds(
            memory=self.memory_mb * MIB,
            entry=self.entry_max_kb * 1024,
            disk=self.disk_mb * MIB,
            replay=self.replay_mb * MIB,
            replay_s=self.replay_ttl_s,
        )
