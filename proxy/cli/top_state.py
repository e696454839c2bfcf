"""What `headgate top` knows: the feed's last word on every name, and how much of it is of the last minute.

Pure. Every row of the feed is a sum since the start of the gate, so a message that was missed is made good by the next
one; what belongs to the last minute is the difference to what the sums were a minute ago.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from proxy.state.budget_report import BudgetRow
from proxy.telemetry.live_report import Delta, Event, Snapshot, Totals

Board = Literal["agents", "routes", "targets", "runs"]
BOARDS: Final[tuple[Board, ...]] = ("agents", "routes", "targets", "runs")
ROWS_MAX: Final = 500
CALLS_MAX: Final = 200
EVENTS_MAX: Final = 50
SERIES_MAX: Final = 300
EVERY_MS: Final = 5_000
RECENT_MS: Final = 60_000


class Recent(Struct, frozen=True):
    """Of the last minute, or since the look began where that is less."""

    calls_a_minute: float
    usd_nanos_an_hour: float


class State(Struct, frozen=True):
    """A picture that stays as it is when more is heard: a pause keeps one."""

    now: Snapshot
    past: Snapshot  # up to a minute ago
    budgets: tuple[BudgetRow, ...] = ()

    def board(self, board: Board) -> list[Totals]:
        return rows_of(self.now, board)

    def recent(self, board: Board) -> dict[str, Recent]:
        """By name."""
        before = {row.name: row for row in rows_of(self.past, board)}
        minutes = max(self.now.at_ms - self.past.at_ms, 1_000) / RECENT_MS
        return {row.name: _recent(row, before.get(row.name), minutes) for row in self.board(board)}


class History:
    """Snapshots of the last minute, the oldest of which is what the present one is compared with."""

    def __init__(self) -> None:
        self._kept: deque[Snapshot] = deque(maxlen=RECENT_MS // EVERY_MS + 1)

    def __repr__(self) -> str:
        return f"History({len(self._kept)} snapshots)"

    def past(self, now: Snapshot) -> Snapshot:
        if not self._kept or now.at_ms - self._kept[-1].at_ms >= EVERY_MS:
            self._kept.append(now)
        return self._kept[0]


def folded(now: Snapshot | None, heard: Snapshot | Delta | Event) -> Snapshot | None:
    """None: nothing can be shown before the first snapshot."""
    if isinstance(heard, Snapshot) or now is None:
        return heard if isinstance(heard, Snapshot) else now
    if isinstance(heard, Event):
        return replace(now, events=[heard, *now.events][:EVENTS_MAX])
    return replace(
        now,
        at_ms=heard.at_ms,
        gauges=heard.gauges,
        totals=heard.totals,
        agents=_merged(now.agents, heard.agents),
        routes=_merged(now.routes, heard.routes),
        targets=_merged(now.targets, heard.targets),
        runs=_merged(now.runs, heard.runs),
        calls=[*heard.calls, *now.calls][:CALLS_MAX],
        series=[*now.series, heard.second][-SERIES_MAX:],
    )


def rows_of(snapshot: Snapshot, board: Board) -> list[Totals]:
    if board == "agents":
        return snapshot.agents
    if board == "routes":
        return snapshot.routes
    return snapshot.targets if board == "targets" else snapshot.runs


def _merged(known: Sequence[Totals], changed: Iterable[Totals]) -> list[Totals]:
    """The ones that were used last come first, and stay if there are too many."""
    fresh = {row.name: row for row in changed}
    return [*fresh.values(), *(row for row in known if row.name not in fresh)][:ROWS_MAX]


def _recent(row: Totals, before: Totals | None, minutes: float) -> Recent:
    calls, cost = (before.calls, before.cost_usd_nanos) if before else (0, 0)
    return Recent(
        calls_a_minute=max(0, row.calls - calls) / minutes,
        usd_nanos_an_hour=max(0, row.cost_usd_nanos - cost) / minutes * 60,
    )
