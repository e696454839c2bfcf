"""How long answers take, by agent and target: the median, which a call without half a chance is told by.

An agent's calls resemble each other, and the same target serves a classifier in a second and an essay in a minute. A
figure is forgotten when nothing has confirmed it for a while: calls that are refused because of it teach nothing, so
without that a slow hour would be believed for ever.
"""

from __future__ import annotations

from typing import Final

from policies.estimate import Histogram
from policies.recent import Recent

KEPT_MAX: Final = 4_096
SAMPLES_LEAST: Final = 20
REVIEW_EVERY: Final = 16  # samples between two looks at a histogram
BELIEVED_S: Final = 60.0  # after the last sample
MS: Final = 1_000


class _Times:
    __slots__ = ("at", "median_s", "millis")

    def __init__(self) -> None:
        self.millis = Histogram()
        self.median_s: float | None = None
        self.at = 0.0

    def add(self, seconds: float, now: float) -> None:
        if now - self.at > BELIEVED_S:
            self.millis, self.median_s = Histogram(), None
        self.at = now
        self.millis.add(int(seconds * MS))
        total = self.millis.total
        if total >= SAMPLES_LEAST and (self.median_s is None or not total % REVIEW_EVERY):
            self.median_s = self.millis.quantile(500) / MS


class ServiceTimes:
    """Of whole answers, from sending to end."""

    def __init__(self) -> None:
        self.longest_s = 0.0  # of all medians of late
        self._longest_at = 0.0
        self._known: Recent[tuple[str, str], _Times] = Recent(KEPT_MAX, _Times)

    def __repr__(self) -> str:
        return f"ServiceTimes({len(self._known)} known)"

    def __len__(self) -> int:
        return len(self._known)

    def ended(self, agent: str, target: str, *, seconds: float, now: float) -> None:
        """An answer came to its own end."""
        times = self._known.get((agent, target))
        times.add(seconds, now)
        median_s = times.median_s
        if median_s is not None and (median_s >= self.longest_s or now - self._longest_at > BELIEVED_S):
            self.longest_s, self._longest_at = median_s, now

    def median_s(self, agent: str, target: str, now: float) -> float | None:
        """None: too few are known, or none of late."""
        times = self._known.find((agent, target))
        return None if times is None or now - times.at > BELIEVED_S else times.median_s

    def p99_s(self, agent: str, target: str) -> float:
        """However old; 0: nothing is known. For those that look hours ahead, and rather too far."""
        times = self._known.find((agent, target))
        return 0.0 if times is None or not times.millis.total else times.millis.quantile(990) / MS
