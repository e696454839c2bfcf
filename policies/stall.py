"""How long a stream may stand still before it is taken for dead: a multiple of what its target's streams usually do.

Pauses of streams that came to their end are counted by target, in the buckets that the metrics use; 99 of 100 stay
below the pause that counts here. What has been seen too rarely says nothing, and no word of this makes anyone wait
longer than the configured time: that stays the upper bound.
"""

from __future__ import annotations

from itertools import accumulate
from math import inf
from typing import Final

from policies.recent import Recent

WATCHED: Final = frozenset({"chat", "completions"})  # elsewhere tools that a provider runs take their time
FLOOR_S: Final = 10.0
TIMES: Final = 8
GAPS_LEAST: Final = 1_000
STREAMS_LEAST: Final = 20
REVIEW_EVERY: Final = 16  # streams between two looks at the counts
GAPS_MAX: Final = 200_000  # then all counts are halved, so that the present outweighs the past
KEPT_MAX: Final = 4_096  # the names of a wildcard's models come from clients


class _Pace:
    """Of one target."""

    __slots__ = ("counts", "limit_s", "streams")

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.streams = 0
        self.limit_s = inf


class Stalls:
    """`edges`: the upper ends, in seconds, of the buckets that gaps are counted into; one more lies above the last."""

    def __init__(self, edges: tuple[float, ...]) -> None:
        self._edges = (*edges, inf)
        self._paces: Recent[str, _Pace] = Recent(KEPT_MAX, _Pace)

    def __repr__(self) -> str:
        return f"Stalls({len(self._paces)} targets)"

    def limit_s(self, target_id: str) -> float:
        """The longest silence of a stream that lives; infinite until enough is known."""
        pace = self._paces.find(target_id)
        return inf if pace is None else pace.limit_s

    def ended(self, target_id: str, counts: tuple[int, ...]) -> None:
        """A stream came to its end; `counts` of its gaps, by bucket."""
        pace = self._paces.get(target_id)
        pace.counts = [old + new for old, new in zip(pace.counts or [0] * len(counts), counts, strict=True)]
        pace.streams += 1
        if pace.streams >= STREAMS_LEAST and (pace.limit_s == inf or not pace.streams % REVIEW_EVERY):
            self._review(pace)

    def _review(self, pace: _Pace) -> None:
        total = sum(pace.counts)
        if total < GAPS_LEAST:
            return
        below = next(at for at, seen in enumerate(accumulate(pace.counts)) if seen * 100 >= total * 99)
        pace.limit_s = max(FLOOR_S, TIMES * self._edges[below])
        if total > GAPS_MAX:
            pace.counts = [count // 2 for count in pace.counts]
