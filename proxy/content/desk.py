"""Kept words, as an operator asks for them: those of one call, how much there is, what is to go; and what goes by age.

One process has this, the one with the admin listener; the files are those of all. Files are looked at in threads, as a
disk may be slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from msgspec import structs

from proxy.clock import Clock
from proxy.content import segments
from proxy.content.segments import DAY_S
from proxy.state.content_report import ContentPurged, ContentReport
from proxy.state.report import RequestDetail

LOOK_S: Final = 60.0


class Reports(Protocol):
    async def request(self, id: str) -> RequestDetail | None: ...


Bounds = Callable[[], tuple[float, int]]  # days, bytes


class ContentDesk:
    def __init__(
        self, folder: Path, clock: Clock, *, reports: Reports, bounds: Bounds, failed: Callable[[str], None]
    ) -> None:
        """`failed` is told when files could not be deleted."""
        self._folder = folder
        self._reports = reports
        self._clock = clock
        self._bounds = bounds
        self._failed = failed

    def __repr__(self) -> str:
        return f"ContentDesk({self._folder})"

    async def request(self, id: str) -> RequestDetail | None:
        """A call with its words, as far as they are kept."""
        detail = await self._reports.request(id)
        if detail is None:
            return None
        own, at_ms = str(detail.fields["request_id"]), float(detail.fields["at_ms"] or 0)
        return structs.replace(detail, content=await asyncio.to_thread(segments.find, self._folder, own, at_ms / 1000))

    async def report(self) -> ContentReport:
        return await asyncio.to_thread(segments.report, self._folder)

    async def purge(self, before_ms: int | None) -> ContentPurged:
        """None: all of them. Raises OSError."""
        if before_ms is None:
            return await asyncio.to_thread(segments.trim, self._folder, -1)
        return await asyncio.to_thread(segments.purge, self._folder, before_ms / 1000)

    async def keep(self) -> None:
        """Lets go of what is too old or too much, until it is cancelled."""
        while True:
            try:
                await asyncio.to_thread(self._look)
            except OSError as error:
                self._failed(f"kept content cannot be deleted: {error.strerror}")
            await asyncio.sleep(LOOK_S)

    def _look(self) -> None:
        days, bytes_max = self._bounds()
        segments.purge(self._folder, self._clock.wall() - days * DAY_S)
        segments.trim(self._folder, bytes_max)
