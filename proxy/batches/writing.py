"""The end of a batch: its lines become an output file and an error file, in the order of its input; what was not
answered stands behind the errors.

It may be begun again at any time: until the batch is known to have ended, its lines are still there, and files of the
same names are written over. A piece is written at a time, so that whoever asks after another file waits for a piece.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Final

from msgspec import Struct, structs

from proxy.batches import tables
from proxy.batches.archive import Archive
from proxy.batches.objects import Batch, Ending, File

PIECE: Final = 1024 * 1024  # bytes: an answer may be large
PIECE_LINES: Final = 500  # of those that say that there was none


class Output(Struct):
    """A file that grows."""

    file: File
    size: int = 0


class Writer:
    def __init__(self, archive: Archive, kept_s: float) -> None:
        self._archive = archive
        self._kept_s = kept_s

    def __repr__(self) -> str:
        return f"Writer({self._archive!r})"

    async def end(self, batch: Batch, ending: Ending, *, wall: float, left: Iterable[bytes]) -> Batch | None:
        """The batch as it has ended; None: it had already. `left`: entries of lines without an answer, made in the
        archive's thread. Raises ProxyError storage_unavailable."""
        good, bad = self._output(batch, "output", wall), self._output(batch, "error", wall)
        for output in (good, bad):
            await self._archive.run(partial(self._begin, output))
        after = -1
        while piece := await self._archive.ask(partial(tables.entries, id=batch.id, after=after, limit=PIECE)):
            await self._archive.run(partial(self._append, good, bad, piece))
            after = piece[-1][0]
        unanswered, entries = 0, iter(left)
        while count := await self._archive.run(partial(self._leave, bad, entries)):
            unanswered += count
        await self._archive.run(partial(self._close, good, bad))
        written = [structs.replace(output.file, bytes=output.size) for output in (good, bad) if output.size]

        def concluded(present: Batch) -> Batch | None:
            moved = present.moved(ending, wall)
            if moved is None:
                return None
            output, error = (output.file.id if output.size else None for output in (good, bad))
            failed = present.failed + unanswered
            return structs.replace(moved, failed=failed, output_file_id=output, error_file_id=error)

        return await self._archive.ask(partial(tables.conclude, id=batch.id, written=written, to=concluded))

    def _output(self, batch: Batch, kind: str, wall: float) -> Output:
        kept_s = self._kept_s if batch.output_s is None else min(batch.output_s, self._kept_s)
        file = File(
            id=f"file-{batch.id.removeprefix('batch_')}-{kind}",
            owner=batch.owner,
            filename=f"{batch.id}_{kind}.jsonl",
            purpose="batch_output",
            bytes=0,
            created_at=int(wall),
            expires_at=int(wall + kept_s),
        )
        return Output(file)

    # --- in the archive's thread -------------------------------------------------------------------------------------

    def _begin(self, output: Output) -> None:
        os.close(os.open(self._archive.path(output.file.id), os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))

    def _append(self, good: Output, bad: Output, piece: Sequence[tuple[int, bool, bytes]]) -> None:
        for output, wanted in ((good, True), (bad, False)):
            text = b"".join([entry for _, is_good, entry in piece if is_good is wanted])
            with self._archive.path(output.file.id).open("ab") as file:
                file.write(text)
            output.size += len(text)

    def _leave(self, bad: Output, entries: Iterator[bytes]) -> int:
        """How many were left to write; 0: none."""
        some = list(islice(entries, PIECE_LINES))
        with self._archive.path(bad.file.id).open("ab") as file:
            bad.size += file.write(b"".join(some))
        return len(some)

    def _close(self, good: Output, bad: Output) -> None:
        for output in (good, bad):
            path = self._archive.path(output.file.id)
            if not output.size:
                path.unlink()
                continue
            with path.open("rb") as file:
                os.fsync(file.fileno())
