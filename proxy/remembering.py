"""What one process that serves knows of earlier answers, connected: the exact cache with its journal, and the semantic
one."""

from __future__ import annotations

from proxy.assembly import Assembly
from proxy.caching.cabinet import Cabinet
from proxy.caching.desk import Caches, Elsewhere
from proxy.caching.semantic import Semantic
from proxy.caching.semantic_parts import Kit
from proxy.caching.stock import Gone, Purge, Stock
from proxy.config.load import Config
from proxy.execution.asking import Asks
from proxy.tasks import Tasks
from proxy.telemetry.log import RequestLog
from proxy.telemetry.metrics import Metrics

MIB = 1024 * 1024


class Remembering:
    def __init__(
        self,
        assembly: Assembly,
        tasks: Tasks,
        side: Asks,
        *,
        log: RequestLog,
        metrics: Metrics,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """`elsewhere`: answers that other gates know."""
        tools, config = assembly.tools, assembly.config
        path = config.data_dir / "caches.db" if config.caches.persist else None
        self._log = log
        cabinet = Cabinet(path, self._failed, tools.clock.wall)
        self.caches = Caches(tools.clock, cabinet, config.caches.bounds(), elsewhere)
        kit = Kit(tools.clock, tools.dialect, tasks, metrics.caches.semantic, side)
        self.semantic = Semantic(kit, config.caches.semantic_mb * MIB)
        metrics.caches.watch(self.caches)
        metrics.caches.watch_semantic(self.semantic.library)

    def __repr__(self) -> str:
        return f"Remembering({self.caches!r}, {self.semantic!r})"

    def use(self, config: Config) -> None:
        """From now on."""
        self.caches.replace(config.caches.bounds())
        self.semantic.library.resize(config.caches.semantic_mb * MIB)

    async def stock(self) -> Stock:
        return await self.caches.stock()

    async def purge(self, purge: Purge) -> Gone:
        gone = await self.caches.purge(purge)
        return gone.plus(Gone(in_memory=self.semantic.purge(purge.agent, purge.model, purge.key)))

    async def close(self) -> None:
        await self.caches.close()

    def _failed(self, what: str) -> None:
        self._log.event("cache failed", "warning", {"what": what})
