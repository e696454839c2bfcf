"""Which targets are slow as a whole: there a second copy would only add to the load that makes them slow.

Over a window of half to all of 30 seconds: more than 15 % of a target's primaries, of 20 or more, took longer than the
age at which they would be hedged. A target that is, is left alone for 30 seconds; a breaker may think otherwise.
"""

from __future__ import annotations

from math import inf, sqrt
from typing import Final

from policies.recent import Recent

WINDOW_S: Final = 30.0
PRIMARIES_LEAST: Final = 20
LATE_SHARE: Final = 0.15
DOUBT: Final = 1.2816  # Wilson's bound, one-sided 90 %: six of the first twenty, not four that came together by chance
REST_S: Final = 30.0
TARGETS_MAX: Final = 4_096


class _Tally:
    """Counts of this half of the window, and of the one before."""

    __slots__ = ("before", "before_late", "ended", "late", "rests_until", "since")

    def __init__(self) -> None:
        self.ended = self.late = self.before = self.before_late = 0
        self.since = self.rests_until = -inf

    def turn(self, now: float) -> None:
        recent = now - self.since < WINDOW_S
        self.before, self.before_late = (self.ended, self.late) if recent else (0, 0)
        self.ended = self.late = 0
        self.since = now


class Lateness:
    def __init__(self) -> None:
        self._tallies: Recent[str, _Tally] = Recent(TARGETS_MAX, _Tally)

    def __repr__(self) -> str:
        return f"Lateness({len(self._tallies)} targets)"

    def ended(self, target_id: str, late: bool, now: float) -> None:
        """A primary of the target has its first content, has failed or was given up."""
        tally = self._tallies.get(target_id)
        if now - tally.since >= WINDOW_S / 2:
            tally.turn(now)
        tally.ended += 1
        if late:
            tally.late += 1
            ended = tally.ended + tally.before
            beyond = tally.late + tally.before_late - LATE_SHARE * ended
            if ended >= PRIMARIES_LEAST and beyond > DOUBT * sqrt(LATE_SHARE * (1.0 - LATE_SHARE) * ended):
                tally.rests_until = now + REST_S

    def rests(self, target_id: str, now: float) -> bool:
        """It is too slow as a whole to be sent second copies."""
        tally = self._tallies.find(target_id)
        return tally is not None and now < tally.rests_until
