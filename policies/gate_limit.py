"""How many tokens of prompts the active runs of a pool may hold between them, learned from what its caches still serve.

A pool that is told its memory begins with a share of it; one that is not counts runs. The share of input that came out
of a cache, over calls that go on where their run stopped, says whether runs evict each other: such calls repeat about
nine tenths of themselves. Additive up and multiplicative down, after Chiu and Jain (1989), in leaps where a reading is
far off, so that a memory stated wrongly is soon made up for.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

HIGH: Final = 0.84  # above it there is room for more, where they wait
LOW: Final = 0.70  # below it there are too many
FALL: Final = 0.9  # to so much of what is in use
HIGHEST: Final = 0.90  # of agents that find all they have said: the limit is far off, and moves in leaps
LEAP: Final = 0.15  # of itself
LOWEST: Final = 0.50
DROP: Final = 0.7


class Law(Struct, frozen=True):
    """`start`, `least`, `most` and `step` are parts of the capacity; `every`: calls that are read together."""

    start: float
    least: float
    most: float
    step: float
    every: int


TOKENS: Final = Law(start=0.9, least=0.1, most=4.0, step=0.05, every=50)
RUNS: Final = Law(start=32.0, least=4.0, most=4_096.0, step=2.0, every=100)  # each run counts as one


class Limit:
    """`size` is in the unit of `capacity`: tokens, or runs where that is 1."""

    __slots__ = ("_cached", "_calls", "_input", "_law", "capacity", "seen", "share")

    def __init__(self, law: Law, capacity: float, share: float | None = None) -> None:
        self.capacity = capacity
        self.share = law.start if share is None else share
        self.seen: float | None = None  # the share of input from caches at the last reading
        self._law = law
        self._calls = 0
        self._input = 0
        self._cached = 0

    def __repr__(self) -> str:
        return f"Limit({self.share:.2f} of {self.capacity:g})"

    @property
    def size(self) -> float:
        return self.share * self.capacity

    def read(self, input_tokens: int, cached_tokens: int, *, in_use: float, wanted: bool) -> bool:
        """One call that went on where its run stopped. `wanted`: more runs would come if they could. Returns whether
        the limit has moved."""
        self._calls += 1
        self._input += input_tokens
        self._cached += cached_tokens
        if self._calls < self._law.every:
            return False
        self.seen = seen = self._cached / max(1, self._input)
        self._calls = self._input = self._cached = 0
        before = self.share
        if seen > HIGH and wanted:
            step = self._law.step if seen <= HIGHEST else max(self._law.step, LEAP * before)
            self.share = min(self._law.most, before + step)
        elif seen < LOW:
            self._fall(in_use / self.capacity, FALL if seen >= LOWEST else DROP)
        return self.share != before

    def _fall(self, used: float, to: float) -> None:
        """Where less is in use than the least limit, it is not memory that is short."""
        if used >= self._law.least:
            self.share = max(self._law.least, min(self.share, to * used))
