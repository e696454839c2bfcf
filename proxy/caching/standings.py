"""What is known of the semantic cache of each owner's route: its curve, its quality, what its judge may still cost."""

from __future__ import annotations

from typing import Final

from policies.daily_budget import DailyBudget
from policies.recent import Recent
from policies.semantic.confidence import Route
from policies.semantic.quality import Quality

ROUTES_MAX: Final = 4_096


class Standing:
    """Of one owner's route."""

    __slots__ = ("curve", "judging", "quality")

    def __init__(self) -> None:
        self.curve = Route()
        self.quality = Quality()
        self.judging = DailyBudget()

    def __repr__(self) -> str:
        return f"Standing({self.curve!r}, {self.quality!r})"


class Standings:
    """Those that were asked for last."""

    def __init__(self) -> None:
        self._by_route: Recent[bytes, Standing] = Recent(ROUTES_MAX, Standing)

    def __repr__(self) -> str:
        return f"Standings({len(self._by_route)} routes)"

    def of(self, route: bytes) -> Standing:
        return self._by_route.get(route)

    def forget(self) -> None:
        """What was switched off begins anew, as everything else does."""
        self._by_route.clear()
