"""The metrics of the store that several gates share: what it was asked, how it went, and whether it is asked at all."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from proxy.telemetry.catalog_shared import ASKED, LINK, OPERATION
from proxy.telemetry.series import Table

STATES: Final = LINK.values or ()


class SharedMetrics:
    def __init__(self, table: Table) -> None:
        asked, seconds = table.numbers["shared_operations_total"], table.histograms["shared_seconds"]
        operations, outcomes = OPERATION.values or (), ASKED.values or ()
        self._asked = {(op, outcome): asked[op, outcome] for op in operations for outcome in outcomes}
        self._seconds = {op: seconds[op,] for op in operations}
        self._state = table.numbers["shared_breaker_state"]

    def asked(self, operation: str, outcome: str, seconds: float) -> None:
        self._asked[operation, outcome].value += 1
        self._seconds[operation].observe(seconds)

    def skipped(self, operation: str) -> None:
        self._asked[operation, "skipped"].value += 1

    def watch(self, state: Callable[[], str]) -> None:
        for each in STATES:
            self._state[each,].read = partial(_is, state, each)


def _is(state: Callable[[], str], wanted: str) -> int:
    return int(state() == wanted)
