"""Kept words where no files are."""

from __future__ import annotations

from proxy.state.content_report import ContentPurged, ContentReport
from proxy.state.report import RequestDetail
from proxy.surfaces.admin_content import ContentServices
from proxy.surfaces.admin_guard import Audit


class WordsDesk:
    """Knows the words of the calls that a test gives it."""

    def __init__(self) -> None:
        self.calls: dict[str, RequestDetail] = {}
        self.purges: list[int | None] = []
        self.broken = False

    async def request(self, id: str) -> RequestDetail | None:
        return self.calls.get(id)

    async def report(self) -> ContentReport:
        return ContentReport(2, 3 * 1024 * 1024, "2026-11-20")

    async def purge(self, before_ms: int | None) -> ContentPurged:
        if self.broken:
            raise PermissionError(13, "Permission denied")
        self.purges.append(before_ms)
        return ContentPurged(1, 1024 * 1024)


def unheard(audit: Audit) -> None:
    """Nobody reads it."""


def no_words(desk: WordsDesk | None = None, *, guarded: bool = True) -> ContentServices:
    return ContentServices(desk or WordsDesk(), unheard, lambda: 1_795_392_000.0, guarded)
