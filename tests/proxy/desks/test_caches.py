from __future__ import annotations

from typing import cast

from proxy.caching.stock import Gone, Purge, Stock
from proxy.caching.tables import Standing
from proxy.desks.caches import CacheDesk
from proxy.serving import Serving
from proxy.state.cache_report import OnDisk, Purged, Savings


class Gate:
    def __init__(self) -> None:
        self.purged: list[Purge] = []

    async def stock(self) -> Stock:
        return Stock(1, 2, 3, 4, {"reply": Standing(5, 6)})

    async def purge(self, purge: Purge) -> Gone:
        self.purged.append(purge)
        return Gone(7, 8)


async def test_the_report_is_of_all_processes_and_a_purge_reaches_them() -> None:
    gate, savings = Gate(), {"exact": Savings({"hit": 1})}
    desk = CacheDesk(cast("Serving", gate), lambda: savings)
    report = await desk.report()
    assert (report.entries, report.bytes, report.evicted, report.disk_failures) == (1, 2, 3, 4)
    assert report.on_disk == {"reply": OnDisk(5, 6)}
    assert report.savings is savings
    assert await desk.purge(Purge("a")) == Purged(7, 8)
    assert gate.purged == [Purge("a")]
