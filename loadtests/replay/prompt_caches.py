"""A vendor's prompt cache, its bill, and the recorded agents that ask it: the world in which lives are chosen.

What stands before a marker is kept for the life that is asked for, from its last use on; a hit is the longest beginning
that is still there. Whether a longer life is then that of all before the marker, also of what was only read, no vendor
writes down, so it is a trait of this one. Costs are in tokens of uncached input. Imports nothing of the gate.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from random import Random
from typing import Literal, Protocol

from loadtests.replay.traces import RECORDED_BLOCK, SESSIONS, RecordedCall, sessions

Ttl = Literal["5m", "1h"]

SECONDS: dict[Ttl, float] = {"5m": 300.0, "1h": 3_600.0}
READ, OUTPUT = 0.1, 5.0
WRITE: dict[Ttl, float] = {"5m": 1.25, "1h": 2.0}


Range = tuple[int, int]  # ids of blocks, both inclusive


@dataclass(frozen=True, slots=True)
class Ask:
    """One call of a conversation. Each block of its prompt stands for all before it as well."""

    run: str
    thread: int  # which conversation of the run
    at: float
    model: str
    tokens: int
    output: int
    ranges: tuple[Range, ...]


class Choice(Protocol):
    """Says for how long what a call writes is to be kept."""

    def __call__(self, ask: Ask, /) -> Ttl: ...


class _Kept:
    """What a vendor has of one run and model, by block."""

    def __init__(self) -> None:
        self.used_at = array("d")
        self.long = bytearray()

    def grow(self, size: int) -> None:
        more = size - len(self.long)
        if more > 0:
            self.used_at.extend(array("d", [-inf]) * more)
            self.long.extend(bytes(more))

    def until(self, block: int) -> float:
        return self.used_at[block] + (SECONDS["1h"] if self.long[block] else SECONDS["5m"])

    def hits(self, ranges: tuple[Range, ...], now: float) -> int:
        """Blocks at the beginning of a prompt that are still there."""
        hits = 0
        for first, last in ranges:
            if min(self.used_at[first : last + 1]) + SECONDS["5m"] < now:
                for block in range(first, last + 1):
                    if self.until(block) < now:
                        return hits
                    hits += 1
            else:
                hits += last + 1 - first
        return hits

    def use(self, ranges: tuple[Range, ...], now: float, *, hits: int, ttl: Ttl, covers: bool) -> None:
        for first, last in ranges:
            size = last + 1 - first
            self.used_at[first : last + 1] = array("d", [now]) * size
            old = 0 if covers and ttl == "1h" else min(hits, size)  # blocks that keep the life that they have
            self.long[first + old : last + 1] = (b"\1" if ttl == "1h" else b"\0") * (size - old)
            hits = max(0, hits - size)


class Vendor:
    def __init__(self, *, covers: bool) -> None:
        """`covers`: the trait above."""
        self.cost = 0.0
        self.uncached = 0.0  # what it would have been without a cache
        self._covers = covers
        self._kept: dict[str, _Kept] = {}

    def answer(self, ask: Ask, ttl: Ttl) -> None:
        kept = self._kept.setdefault(ask.model, _Kept())
        kept.grow(1 + max((last for _, last in ask.ranges), default=0))
        hits = kept.hits(ask.ranges, ask.at)
        read = RECORDED_BLOCK * hits
        self.cost += READ * read + WRITE[ttl] * (ask.tokens - read) + OUTPUT * ask.output
        self.uncached += ask.tokens + OUTPUT * ask.output
        kept.use(ask.ranges, ask.at, hits=hits, ttl=ttl, covers=self._covers)


def share(runs: Sequence[Sequence[Ask]], choice: Choice, *, covers: bool) -> float:
    """What all of it costs, of what it costs without a cache."""
    cost = uncached = 0.0
    for run in runs:  # nothing is shared between runs
        vendor = Vendor(covers=covers)
        for ask in run:
            vendor.answer(ask, choice(ask))
        cost += vendor.cost
        uncached += vendor.uncached
    return cost / uncached


def runs(folder: Path | None, seed: int) -> list[list[Ask]]:
    """The recorded runs with the agents below them; without them made-up ones, which pause as seldom and as long."""
    if folder is None or not (folder / SESSIONS).exists():
        return [_made_up(Random(f"{seed}/{number}"), f"run-{number}") for number in range(60)]
    found = []
    for recorded in sessions(folder):
        threads = [(0.0, recorded["calls"])] + [(child["t"], child["calls"]) for child in recorded.get("children", [])]
        asks = [ask for thread, (t, calls) in enumerate(threads) for ask in _asks(recorded["id"], thread, t, calls)]
        found.append(sorted(asks, key=lambda ask: (ask.at, ask.thread)))
    return found


def _asks(run: str, thread: int, begun_at: float, calls: list[RecordedCall]) -> Iterator[Ask]:
    for call in calls:
        ranges = tuple([(first, last) for first, last in call["blocks"]])
        yield Ask(run, thread, begun_at + call["t"], call["model"], call["input"], call["output"], ranges)


def _made_up(rng: Random, run: str) -> list[Ask]:
    at, last, found = 0.0, int(rng.uniform(100, 400)), []
    for _ in range(3 + int(rng.expovariate(1 / 60))):
        last += 1 + int(rng.expovariate(1 / 25))
        tokens = RECORDED_BLOCK * (last + 1) + rng.randrange(RECORDED_BLOCK)
        found.append(Ask(run, 0, at, "model", tokens, 1 + int(rng.lognormvariate(5.4, 1.0)), ((0, last),)))
        pause = rng.uniform(300, 3_000) if rng.random() < 0.055 else rng.lognormvariate(2.5, 1.0)
        at += pause if rng.random() > 0.004 else rng.uniform(4_000, 40_000)
    return found
