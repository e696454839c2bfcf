"""The metrics of run admission gates: runs by where they stand, how much may be in use, and how long calls have waited.

They go by the model whose pool a gate looks after. Standings are read from the desk at each scrape; the process that
owns the books has it, so they are told once, however many processes serve.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Protocol

from proxy.telemetry.catalog import RUN_STATE
from proxy.telemetry.series import Table


class Standing(Protocol):
    """All gates; asked at each scrape. 0: there is no such gate."""

    def runs(self, pool: str, state: str) -> int: ...
    def in_use(self, pool: str) -> float: ...
    def limit(self, pool: str) -> float: ...


class GateMetrics:
    def __init__(self, table: Table) -> None:
        self._numbers = table.numbers
        self._waits = table.histograms["run_gate_wait_seconds"]

    def ended(self, pool: str, waited_s: float) -> None:
        self._waits[pool,].observe(waited_s)

    def watch(self, pools: Iterable[str], gates: Standing) -> None:
        for pool in pools:
            for state in RUN_STATE.values or ():
                self._numbers["run_gate_runs"][pool, state].read = partial(gates.runs, pool, state)
            self._numbers["run_gate_in_use"][pool,].read = partial(gates.in_use, pool)
            self._numbers["run_gate_limit"][pool,].read = partial(gates.limit, pool)
