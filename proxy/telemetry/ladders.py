"""The bucket edges of every histogram, and the counter that sorts a stream's gaps into them.

A threshold that a rule or a panel names is always an edge, so the share above it is counted, never interpolated.
An edge includes its own value (`le`), as in the Prometheus exposition formats.
"""

from __future__ import annotations

from bisect import bisect_left

from proxy.observed import Gaps

Ladder = tuple[float, ...]

TTFT: Ladder = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 120.0),
)
E2E: Ladder = (
    *(0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0),
    *(12.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0),
)
OVERHEAD: Ladder = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1.0)
CHUNK: Ladder = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
TPOT: Ladder = (0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
WAIT: Ladder = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
COST: Ladder = (
    *(0.00001, 0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)


def bucket(ladder: Ladder, value: float) -> int:
    """The index of the first edge that `value` does not exceed; `len(ladder)` above the last."""
    return bisect_left(ladder, value)


class GapCounter:
    """Gaps between the chunks of one stream, counted as they pass: two additions a chunk, no list of them."""

    __slots__ = ("_counts", "_sum_s")

    def __init__(self) -> None:
        self._counts = [0] * (len(CHUNK) + 1)
        self._sum_s = 0.0

    def __repr__(self) -> str:
        return f"GapCounter({sum(self._counts)} gaps, {self._sum_s:.3f} s)"

    def add(self, gap_s: float) -> None:
        self._counts[bisect_left(CHUNK, gap_s)] += 1
        self._sum_s += gap_s

    def gaps(self) -> Gaps:
        return Gaps(counts=tuple(self._counts), sum_s=self._sum_s)
