"""What the semantic cache works with and what holds for one call: values and protocols alone."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from policies.cache_rules import CacheRules
from policies.semantic.rules import SemanticRules
from proxy.clock import Clock
from proxy.dialects.base import Dialect
from proxy.execution.asking import Asks
from proxy.snapshot import Snapshot
from proxy.tasks import Tasks
from proxy.telemetry.semantic_metrics import Purpose


class Watch(Protocol):
    """Who counts: see `telemetry.semantic_metrics`."""

    def labelled(self, route: str, *, same: bool) -> None: ...

    def spent(self, purpose: Purpose, usd_nanos: int) -> None: ...

    def stands(self, route: str, owner: bytes, false_hit_ratio: float, *, off: bool) -> None: ...


class Kit(Struct, frozen=True):
    """Made once."""

    clock: Clock
    dialect: Dialect
    tasks: Tasks
    watch: Watch
    side: Asks


class Around(Struct, frozen=True):
    """What holds for one call."""

    cache: CacheRules
    rules: SemanticRules
    snapshot: Snapshot
    side: Asks
