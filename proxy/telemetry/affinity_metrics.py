"""The metrics of prefix affinity: what targets were expected to have in memory, what they said they had.

Read from its owner at each scrape; the two apart say that an engine's memory is not as large as it was said to be.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Protocol

from proxy.telemetry.series import Table


class Told(Protocol):
    expected: int
    reported: int


class Memories(Protocol):
    """Asked at each scrape, by a target's id."""

    def told(self, target_id: str) -> Told: ...
    def held_tokens(self, target_id: str) -> int: ...


class AffinityMetrics:
    def __init__(self, table: Table) -> None:
        self._numbers = table.numbers

    def watch(self, targets: Iterable[str], memories: Memories) -> None:
        """`targets`: ids of those that keep prompts."""
        for target in targets:
            self._numbers["prefix_tokens_total"][target, "expected"].read = partial(_expected, memories, target)
            self._numbers["prefix_tokens_total"][target, "reported"].read = partial(_reported, memories, target)
            self._numbers["prefix_index_tokens"][target,].read = partial(memories.held_tokens, target)


def _expected(memories: Memories, target: str) -> int:
    return memories.told(target).expected


def _reported(memories: Memories, target: str) -> int:
    return memories.told(target).reported
