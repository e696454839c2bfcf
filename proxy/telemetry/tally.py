"""Sums of calls by name: of an agent, a route, a target, a run. Bounded, and it knows which have changed.

Names come from clients: they are kept as they came, and told as a message can hold them.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from proxy.telemetry.live_report import Totals

NAMES_MAX: Final = 500  # agents, routes, targets, and runs: of each the ones used last
ROWS_SHOWN_MAX: Final = 200  # of each in a snapshot
SAMPLES_MAX: Final = 100  # first tokens remembered of one name


class Counted(Struct, frozen=True):
    """One call, as far as sums are concerned."""

    at_ms: int
    failed: int
    refused: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_usd_nanos: int
    first_token_s: float | None
    hedges: int = 0


class Tally:
    __slots__ = ("agent", "cached", "calls", "cost", "failed", "firsts", "hedges", "input", "last_ms", "output",
                 "parent", "refused")  # fmt: skip

    def __init__(self) -> None:
        self.calls = self.failed = self.refused = self.hedges = 0
        self.input = self.cached = self.output = self.cost = self.last_ms = 0
        self.agent: str | None = None
        self.parent: str | None = None
        self.firsts: deque[float] = deque(maxlen=SAMPLES_MAX)

    def add(self, counted: Counted) -> None:
        self.calls += 1
        if counted.failed:
            self.failed += 1
        elif counted.refused:
            self.refused += 1
        if counted.hedges:
            self.hedges += 1
        self.input += counted.input_tokens
        self.cached += counted.cached_tokens
        self.output += counted.output_tokens
        self.cost += counted.cost_usd_nanos
        if counted.at_ms > self.last_ms:
            self.last_ms = counted.at_ms
        if counted.first_token_s is not None:
            self.firsts.append(counted.first_token_s)

    def row(self, name: str) -> Totals:
        p50, p95 = quantiles(self.firsts)
        return Totals(
            name=sendable(name),
            calls=self.calls,
            failed=self.failed,
            refused=self.refused,
            hedges=self.hedges,
            input_tokens=self.input,
            cached_tokens=self.cached,
            output_tokens=self.output,
            cost_usd_nanos=self.cost,
            first_token_p50_s=p50,
            first_token_p95_s=p95,
            last_ms=self.last_ms,
            agent=self.agent and sendable(self.agent),
            parent=self.parent and sendable(self.parent),
        )


class Board:
    """Tallies by name, the longest unused first; which of them have changed since the last look."""

    def __init__(self) -> None:
        self._tallies: OrderedDict[str, Tally] = OrderedDict()
        self._changed: set[str] = set()

    def of(self, name: str) -> Tally:
        tally = self._tallies.get(name)
        if tally is None:
            tally = self._tallies[name] = Tally()
            if len(self._tallies) > NAMES_MAX:
                gone, _ = self._tallies.popitem(last=False)
                self._changed.discard(gone)
        else:
            self._tallies.move_to_end(name)
        self._changed.add(name)
        return tally

    def changed(self) -> list[Totals]:
        names, self._changed = self._changed, set()
        return [self._tallies[name].row(name) for name in sorted(names)]

    def latest(self) -> list[Totals]:
        shown = list(self._tallies.items())[-ROWS_SHOWN_MAX:]
        return [tally.row(name) for name, tally in reversed(shown)]


def quantiles(values: Iterable[float]) -> tuple[float | None, float | None]:
    """The median and the 95th percentile, by nearest rank."""
    ordered = sorted(values)
    if not ordered:
        return None, None
    last = len(ordered) - 1
    return ordered[round(last * 0.5)], ordered[round(last * 0.95)]


def sendable(name: str) -> str:
    return name if name.isascii() else name.encode("utf-8", "replace").decode()
