"""What a process that serves tells of its calls beside the books: lines of the log, spans, words that are kept.

All only where the configuration has them, and as it has them now; none is ever waited for. Here too is what the
process with the admin listener does with the words of all: it shows them, and forgets them in time.
"""

from __future__ import annotations

import asyncio
from functools import partial
from importlib.metadata import version

from msgspec import structs

from proxy.assembly import Assembly
from proxy.config.load import Config
from proxy.content.desk import ContentDesk, Reports
from proxy.content.keeper import Keeper
from proxy.surfaces.admin_content import ContentServices
from proxy.surfaces.admin_guard import Audit
from proxy.telemetry.log import RequestLog
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.tracing import Tracing

CONNECT_S = 5.0  # to a collector of traces
FOLDER = "content"  # in the data folder


class Recording:
    def __init__(self, assembly: Assembly, log: RequestLog, metrics: Metrics) -> None:
        tools, config = assembly.tools, assembly.config
        self._log = log
        process = "gate" if assembly.worker is None else f"worker{assembly.worker}"
        folder, wall = config.data_dir / FOLDER, tools.clock.wall
        self.content = Keeper(folder, process, dialect=tools.dialect, wall=wall, report=partial(content_failed, log))
        self.tracing = Tracing(tools.clock, tools.transports.get(CONNECT_S), version("headgate"), self.content.tell)
        metrics.watch("trace_spans_dropped_total", lambda: self.tracing.dropped)
        metrics.watch("content_records_dropped_total", lambda: self.content.lost)
        self.use(config)

    def __repr__(self) -> str:
        return f"Recording({self.tracing!r}, {self.content!r})"

    def use(self, config: Config) -> None:
        """From now on."""
        otlp, content = config.telemetry.otlp, config.telemetry.content
        self._log.calls = config.telemetry.log_calls
        self.tracing.collector = None if otlp is None else otlp.collector(words=content.on_spans)
        self.content.use(content.mask)

    async def stop(self) -> None:
        """What waits is sent and written, for a few seconds at most."""
        self.content.close()
        await asyncio.sleep(0)  # the words that it has told go into spans
        await self.tracing.flush()


def content_desk(assembly: Assembly, reports: Reports, log: RequestLog) -> ContentDesk:
    folder, clock = assembly.config.data_dir / FOLDER, assembly.tools.clock
    bounds, failed = partial(content_bounds, assembly), partial(content_failed, log)
    return ContentDesk(folder, clock, reports=reports, bounds=bounds, failed=failed)


def content_bounds(assembly: Assembly) -> tuple[float, int]:
    """Days and bytes, as the configuration has them now."""
    content = assembly.config.telemetry.content
    return content.days, content.bytes_max


def content_failed(log: RequestLog, why: str) -> None:
    log.event("content", "error", {"why": why})


def content_services(desk: ContentDesk, assembly: Assembly, log: RequestLog) -> ContentServices:
    guarded = assembly.config.admin.token is not None
    return ContentServices(desk, partial(audited, log), assembly.tools.clock.wall, guarded)


def audited(log: RequestLog, audit: Audit) -> None:
    log.event("audit", "info", structs.asdict(audit))
