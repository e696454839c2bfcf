"""Known answers, as an operator asks after them: what all processes keep, what each cache has saved, what is to go."""

from __future__ import annotations

from collections.abc import Callable

from proxy.caching.stock import Purge
from proxy.serving import Serving
from proxy.state.cache_report import CacheReport, OnDisk, Purged, Savings


class CacheDesk:
    def __init__(self, serving: Serving, savings: Callable[[], dict[str, Savings]]) -> None:
        self._serving = serving
        self._savings = savings

    async def report(self) -> CacheReport:
        stock = await self._serving.stock()
        return CacheReport(
            entries=stock.entries,
            bytes=stock.bytes,
            evicted=stock.evicted,
            disk_failures=stock.failed,
            on_disk={table: OnDisk(standing.entries, standing.size) for table, standing in stock.on_disk.items()},
            savings=self._savings(),
        )

    async def purge(self, purge: Purge) -> Purged:
        gone = await self._serving.purge(purge)
        return Purged(gone.in_memory, gone.on_disk)
