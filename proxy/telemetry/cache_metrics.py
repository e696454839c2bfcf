"""The metrics of known answers: how often they were looked for and found, what they had cost, how much is kept.

Looks and savings are read from the one outcome of a call; an answer that was joined while it was on its way has no
price yet, so it counts as found and saves nothing. What is kept is asked of its owner at each scrape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from proxy.state.cache_report import Savings
from proxy.telemetry.catalog_known import CACHE
from proxy.telemetry.labels import Labels
from proxy.telemetry.semantic_metrics import SemanticMetrics
from proxy.telemetry.series import Number, Series
from proxy.types import Outcome


class Kept(Protocol):
    """The answers of one process, asked at each scrape."""

    @property
    def in_memory(self) -> tuple[int, int, int]:
        """Entries, bytes, and how many had to make room."""
        ...

    @property
    def disk(self) -> tuple[int, int]:
        """Bytes, and how often it failed."""
        ...


class Entries(Protocol):
    """Those of the semantic cache, asked at each scrape."""

    evicted: int  # how many had to make room

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    def __len__(self) -> int: ...


class CacheMetrics:
    def __init__(self, numbers: Mapping[str, Series[Number]], labels: Labels) -> None:
        self._numbers = numbers
        self._labels = labels
        self._compared = numbers["semantic_labels_total"]
        self._ratio = numbers["semantic_false_hit_ratio"]
        self._lookups = numbers["cache_lookups_total"]
        self._tokens = numbers["cache_saved_tokens_total"]
        self._usd = numbers["cache_saved_usd_total"]
        self.semantic = SemanticMetrics(numbers, labels)

    def watch(self, kept: Kept) -> None:
        numbers = self._numbers
        numbers["cache_entries"]["exact",].read = lambda: kept.in_memory[0]
        numbers["cache_bytes"]["exact",].read = lambda: kept.in_memory[1]
        numbers["cache_evictions_total"]["exact", "size"].read = lambda: kept.in_memory[2]
        numbers["cache_disk_bytes"][()].read = lambda: kept.disk[0]
        numbers["cache_disk_failures_total"][()].read = lambda: kept.disk[1]

    def watch_semantic(self, kept: Entries) -> None:
        numbers = self._numbers
        numbers["cache_entries"]["semantic",].read = lambda: len(kept)
        numbers["cache_bytes"]["semantic",].read = lambda: kept.size
        numbers["cache_evictions_total"]["semantic", "size"].read = lambda: kept.evicted

    def observe(self, outcome: Outcome) -> None:
        """Of a call that looked for a known answer, or joined one."""
        for looked in outcome.looked_up:
            self._lookups[looked.cache, looked.result].value += 1
        if outcome.served_by == "join":
            self._lookups["join", "hit"].value += 1
        reused = outcome.reused
        if reused is not None:
            agent = self._labels.agent(outcome.call.identity.agent)
            self._tokens[agent, reused.cache].value += reused.saved_tokens
            self._usd[agent, reused.cache].value += reused.saved_usd_nanos or 0

    def savings(self) -> dict[str, Savings]:
        """By cache."""
        return {cache: self._savings(cache) for cache in CACHE.values or ()}

    def _savings(self, cache: str) -> Savings:
        return Savings(
            {result: int(child.now) for (name, result), child in self._lookups.children() if name == cache},
            sum([int(child.now) for (_, name), child in self._tokens.children() if name == cache]),
            sum([int(child.now) for (_, name), child in self._usd.children() if name == cache]),
            *(self._wrong() if cache == "semantic" else ()),
        )

    def _wrong(self) -> tuple[dict[str, int], float | None]:
        compared: dict[str, int] = {}
        for (_, verdict), child in self._compared.children():
            compared[verdict] = compared.get(verdict, 0) + int(child.now)
        ratio = max([child.now for _, child in self._ratio.children()], default=0.0)
        return compared, ratio if any(compared.values()) else None
