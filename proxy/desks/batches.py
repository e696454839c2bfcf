"""Batches as an operator asks after them: those of all owners, one of them, and a word that ends it.

The process that owns the books runs none of them, so it opens the archive for each question and closes it again; the
process that runs them hears of a cancellation within half a second, by looking.
"""

from __future__ import annotations

from functools import partial

from proxy.assembly import Assembly
from proxy.batches import tables
from proxy.batches.archive import Archive
from proxy.batches.objects import Batch
from proxy.batches.tables import Page
from proxy.batching import FOLDER
from proxy.errors import ProxyError
from proxy.state.batch_report import BatchReport, BatchRow
from proxy.surfaces.batches import cancelled


class BatchDesk:
    def __init__(self, assembly: Assembly) -> None:
        self._archive = Archive(assembly.config.data_dir / FOLDER)
        self._wall = assembly.tools.clock.wall

    def __repr__(self) -> str:
        return f"BatchDesk({self._archive!r})"

    async def report(self, limit: int, before: str | None) -> BatchReport:
        """Raises ProxyError, here and below. `before`: the id of a batch that is newer than all that is asked for."""
        if not self._archive.begun:
            return BatchReport((), more=False)
        try:
            wanted = Page(limit, before)
            found = await self._archive.ask(partial(tables.batches, owner=None, page=wanted))
        finally:
            await self._archive.close()
        return BatchReport(tuple([_row(batch) for batch in found[:limit]]), more=len(found) > limit)

    async def one(self, id: str) -> BatchRow:
        if not self._archive.begun:
            raise _unknown()
        try:
            found = await self._archive.ask(partial(tables.batch_of, owner=None, id=id))
        finally:
            await self._archive.close()
        if found is None:
            raise _unknown()
        return _row(found)

    async def cancel(self, id: str) -> BatchRow:
        if not self._archive.begun:
            raise _unknown()
        try:
            return _row(await cancelled(self._archive, None, id, self._wall()))
        finally:
            await self._archive.close()


def _unknown() -> ProxyError:
    return ProxyError("not_found", "no batch has this id")


def _row(batch: Batch) -> BatchRow:
    return BatchRow(
        batch.id,
        batch.identity.key_id,
        batch.identity.agent,
        batch.identity.run,
        batch.endpoint,
        batch.status,
        total=batch.total,
        completed=batch.completed,
        failed=batch.failed,
        created_at=batch.created_at,
        expires_at=batch.expires_at,
        ended_at=batch.ended_at,
        input_file_id=batch.input_file_id,
        output_file_id=batch.output_file_id,
        error_file_id=batch.error_file_id,
        errors=tuple([_told(problem.line, problem.message) for problem in batch.errors]),
    )


def _told(line: int | None, message: str) -> str:
    return message if line is None else f"line {line}: {message}"
