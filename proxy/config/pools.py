"""The pools of a configuration that have a run admission gate: their targets, and the memory behind these."""

from __future__ import annotations

from collections.abc import Iterable

from policies.plan import Routes
from proxy.config.schema import Config
from proxy.execution.gate_desk import Pool
from proxy.types import Target


def pools(config: Config, routes: Routes) -> tuple[Pool, ...]:
    found = []
    for name, model in config.models.items():
        route = routes.find(name)
        if model.gate is not None and route is not None:
            targets = frozenset(target.id for target in route.targets)
            found.append(Pool(name, targets, _kv_tokens(route.targets), model.gate.rules()))
    return tuple(found)


def _kv_tokens(targets: Iterable[Target]) -> int | None:
    """Models of one engine share its memory. None: somebody's is not known, so the sum would say nothing."""
    by_engine: dict[str, int] = {}
    for target in targets:
        if target.traits.kv_tokens is None:
            return None
        by_engine[target.provider] = max(target.traits.kv_tokens, by_engine.get(target.provider, 0))
    return sum(by_engine.values())
