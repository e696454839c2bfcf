"""The metrics of breakers: in which state each is, how often and why it turned, how often a target was left out.

States are read from their owner at each scrape. A wildcard's models go by their provider's wildcard, whose state is
what holds for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Protocol

from proxy.telemetry.catalog import STATE
from proxy.telemetry.family import OTHER
from proxy.telemetry.labels import Labels
from proxy.telemetry.series import Table


class Standing(Protocol):
    """All breakers; asked at each scrape, by a target's id or `provider/*`."""

    def state(self, id: str) -> str: ...
    def rejected(self, id: str) -> int: ...


class BreakerMetrics:
    def __init__(self, table: Table, labels: Labels) -> None:
        self._labels = labels
        self._numbers = table.numbers
        self._transitions = table.numbers["breaker_transitions_total"]

    def turned(self, target: str, to: str, reason: str) -> None:
        """A target's breaker; those of keys have no series of their own, since they take their target along."""
        self._transitions[self._named(target), to, reason].value += 1

    def watch(self, targets: Iterable[str], breakers: Standing) -> None:
        """`targets`: ids, and `provider/*` for those of wildcards."""
        for target in targets:
            for state in STATE.values or ():
                self._numbers["breaker_state"][target, state].read = partial(_is, breakers, target, state)
            self._numbers["upstream_healthy"][target,].read = partial(_is, breakers, target, "closed")
            self._numbers["breaker_rejected_total"][target,].read = partial(breakers.rejected, target)

    def watch_routes(self, routes: Mapping[str, tuple[str, ...]], breakers: Standing) -> None:
        """`routes`: the targets of each, as in `watch`."""
        for route, targets in routes.items():
            self._numbers["route_healthy_targets"][route,].read = partial(_healthy, breakers, targets)

    def _named(self, target: str) -> str:
        if target in self._labels.targets:
            return target
        wildcard = target.partition("/")[0] + "/*"
        return wildcard if wildcard in self._labels.targets else OTHER


def _is(breakers: Standing, target: str, state: str) -> int:
    return int(breakers.state(target) == state)


def _healthy(breakers: Standing, targets: tuple[str, ...]) -> int:
    return sum(breakers.state(target) != "open" for target in targets)
