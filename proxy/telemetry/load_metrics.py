"""What load tests say of themselves over the admin listener. One that falls silent has ended, however it did."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from proxy.telemetry.labels import Labels
from proxy.telemetry.series import Table

SILENT_S: Final = 30.0


class LoadMetrics:
    def __init__(self, table: Table, labels: Labels, now: Callable[[], float]) -> None:
        self._users = table.numbers["loadtest_users"]
        self._info = table.numbers["loadtest_info"]
        self._labels = labels
        self._now = now
        self._told: dict[tuple[str, str], tuple[int, float]] = {}  # users, and since when; bounded as the labels are

    def __repr__(self) -> str:
        return f"LoadMetrics({self._told})"

    def told(self, test: str, scenario: str, users: int) -> None:
        """No users: it has ended."""
        names = self._labels.load_test(test, scenario)
        self._told[names] = users, self._now()
        self._users[names].read = partial(self._of, names)
        self._info[names].read = partial(self._runs, names)

    def _of(self, names: tuple[str, str]) -> int:
        users, at = self._told[names]
        return users if self._now() - at < SILENT_S else 0

    def _runs(self, names: tuple[str, str]) -> int:
        return int(self._of(names) > 0)
