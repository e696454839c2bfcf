"""What may be spent a day on something that can be left undone: a judge, a shadow sample.

It fills up evenly, so that a morning cannot spend the evening's part twice. Nothing is held beforehand: what one call
costs is known when it is over, so the last of them may go below nothing, and the next waits for longer.
"""

from __future__ import annotations

from typing import Final

DAY_S: Final = 86_400.0


class DailyBudget:
    """Nano-dollars that fill up evenly over a day and never to more than a day's."""

    __slots__ = ("_at", "_left")

    def __init__(self) -> None:
        self._left: float | None = None  # None: nothing was taken yet
        self._at = 0.0

    def __repr__(self) -> str:
        return f"DailyBudget({self._left})"

    def has_some(self, a_day: int, now: float) -> bool:
        self._left = float(a_day) if self._left is None else min(a_day, self._left + a_day * (now - self._at) / DAY_S)
        self._at = now
        return self._left > 0

    def spend(self, usd_nanos: int) -> None:
        """What it took may be more than was left; then the next has to wait for longer."""
        if self._left is not None:
            self._left -= usd_nanos
