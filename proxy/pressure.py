"""How near a call is to the end of a budget: one figure for the ladder, one for pacing, and whose limit it is.

It is asked of the accounts once a call, before the call is planned; what it means is `policies.ladder`'s word.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from proxy.types import Period

FIRST: Final = 700  # thousandths, the first rung: below, a pressure changes nothing


class Pressure(Struct, frozen=True):
    """How near a call's accounts are to the end of a budget: of all limits in money and tokens, the tightest one.

    `felt` decides: it rises with what is taken and falls behind it, so that nothing flutters at a threshold."""

    felt: int = 0  # thousandths
    pace: int = 0  # tenths, 0 to 10: how hard spending ahead of the calendar bears on the choice of targets
    limit: int = 0
    used: int = 0  # spent, overrun and unresolved
    held: int = 0
    period: Period | None = None  # None: nothing limits money or tokens
    resets_wall: float | None = None

    @property
    def taken(self) -> int:
        """Thousandths."""
        return share(self.used + self.held, self.limit) if self.period else 0


def share(part: int, whole: int) -> int:
    """In thousandths, rounded down; all of nothing is taken."""
    return part * 1_000 // whole if whole > 0 else 1_000
