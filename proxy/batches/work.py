"""A batch from its first status to its last: its input is checked, its lines are asked, its files are written.

Every step is written down before the next one begins and can be begun again, so a process that dies in any of them
costs the time of that step.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from msgspec import structs

from proxy.batches import tables
from proxy.batches.archive import Archive
from proxy.batches.job import Job
from proxy.batches.lease import NAME as LEASE
from proxy.batches.lines import unasked
from proxy.batches.objects import Batch, Ending, Problem, Status
from proxy.batches.scanning import Scan, line_of
from proxy.batches.writing import Writer
from proxy.clock import Clock
from proxy.snapshot import BatchRules

PIECE: Final = 256 * 1024  # bytes
YOUNG_S: Final = 3_600.0  # a file that no row knows may still be coming
WHY: Final = {
    "expired": ("batch_expired", "The batch had expired before this request was answered."),
    "cancelled": ("batch_cancelled", "The batch was cancelled before this request was answered."),
}

Play = Callable[[Job], Awaitable[None]]
Ended = Callable[[Status], None]


class Work:
    def __init__(self, archive: Archive, clock: Clock, rules: Callable[[], BatchRules], ended: Ended) -> None:
        self._archive = archive
        self._clock = clock
        self._rules = rules
        self._ended = ended

    def __repr__(self) -> str:
        return f"Work({self._archive!r})"

    async def through(self, batch: Batch, play: Play) -> None:
        """`play` asks a job's lines. Raises ProxyError storage_unavailable."""
        scan = await self._scanned(batch)
        batch = await self._checked(batch, scan)
        if batch.status == "failed":
            self._ended("failed")
            return
        done = await self._archive.ask(partial(tables.numbers, id=batch.id)) if batch.total else []
        job = Job(batch, scan, done)
        if batch.status == "in_progress":
            await play(job)
        await self._end(batch, job)

    async def sweep(self) -> None:
        """Takes away what is too old, and what no file is known by. Raises ProxyError storage_unavailable."""
        wall = self._clock.wall()
        known = await self._archive.ask(partial(tables.sweep, wall=wall, kept_s=self._rules().kept_s))
        await self._archive.run(partial(_sweep, self._archive.folder, known, wall - YOUNG_S))

    async def _scanned(self, batch: Batch) -> Scan:
        scan, at = Scan(batch.endpoint, self._rules().lines_max if batch.status == "validating" else batch.total), 0
        if not await self._archive.run(self._archive.path(batch.input_file_id).exists):
            scan.problems.append(Problem("input_file_missing", "The input file is gone.", param="input_file_id"))
            return scan
        while not scan.given_up and (piece := await self._archive.piece(batch.input_file_id, at, PIECE)):
            await self._archive.run(partial(scan.feed, piece))
            at += len(piece)
        await self._archive.run(scan.close)
        return scan

    async def _checked(self, batch: Batch, scan: Scan) -> Batch:
        """As it is now: a batch that is being checked may be cancelled."""
        wall = self._clock.wall()

        def checked(present: Batch) -> Batch | None:
            if present.status == "validating" and wall < present.expires_at:
                if scan.problems:
                    return structs.replace(_moved(present, "failed", wall), errors=tuple(scan.problems))
                return structs.replace(_moved(present, "in_progress", wall), total=len(scan.starts))
            return present

        return await self._archive.ask(partial(tables.change, id=batch.id, to=checked)) or batch

    async def _end(self, batch: Batch, job: Job) -> None:
        """None of its lines is asked any more. What is done is what the disk says, for a line can be done unheard."""
        wall, done = self._clock.wall(), set(await self._archive.ask(partial(tables.numbers, id=batch.id)))

        def finalizing(present: Batch) -> Batch | None:
            if present.status != "in_progress":
                return present
            ending: Ending = "completed" if len(done) == present.total else "expired"
            return structs.replace(_moved(present, "finalizing", wall), ending=ending)

        changed = await self._archive.ask(partial(tables.change, id=batch.id, to=finalizing))
        batch = changed or batch
        ending: Ending = "cancelled" if batch.status == "cancelling" else batch.ending or "expired"
        undone = [number for number in range(job.total if batch.total else 0) if number not in done]
        left = self._unasked(batch, undone, job, WHY[ending]) if undone else ()
        ended = await Writer(self._archive, self._rules().kept_s).end(batch, ending, wall=wall, left=left)
        if ended is not None:
            self._ended(ended.status)

    def _unasked(self, batch: Batch, numbers: Iterable[int], job: Job, why: tuple[str, str]) -> Iterator[bytes]:
        """What the error file says of lines that were not answered. In the archive's thread."""
        name = batch.id.removeprefix("batch_")
        with self._archive.path(batch.input_file_id).open("rb") as file:
            for number in numbers:
                start, size = job.place(number)
                file.seek(start)
                yield unasked(line_of(file.read(size)), f"{name}_{number}", *why)


def _moved(batch: Batch, status: Status, wall: float) -> Batch:
    moved = batch.moved(status, wall)
    assert moved is not None
    return moved


def _sweep(folder: Path, known: set[str], before_wall: float) -> None:
    """In the archive's thread."""
    for path in folder.iterdir():
        own = path.name.startswith((tables.NAME, LEASE))
        if not own and path.name not in known and path.stat().st_mtime < before_wall:
            path.unlink(missing_ok=True)
