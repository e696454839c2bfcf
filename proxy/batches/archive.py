"""Where files and batches are kept: a folder with one SQLite file and the files' contents, and one thread for both.

Any process of a gate may ask; each opens it when it is first asked. Nothing here waits on the event loop, and a disk
that fails is an error that its caller can tell a client: a batch is no answer to a call, so there is nothing to go on
with without it. All is readable by the gate's user alone (0600 in a folder of 0700).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from proxy.batches import tables
from proxy.batches.objects import File
from proxy.errors import ProxyError

T = TypeVar("T")
AGAIN_S: Final = 5.0


class Archive:
    def __init__(self, folder: Path) -> None:
        """Nothing is made before it is first asked."""
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, "batches")
        self._connection: sqlite3.Connection | None = None

    def __repr__(self) -> str:
        return f"Archive({self._folder})"

    @property
    def begun(self) -> bool:
        """Whether any process has ever kept something here."""
        return self._connection is not None or (self._folder / tables.NAME).exists()

    @property
    def folder(self) -> Path:
        return self._folder

    def path(self, id: str) -> Path:
        """`id`: one that the archive has given, never a client's text."""
        return self._folder / id

    async def ask(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """In one transaction. Raises ProxyError storage_unavailable, and what `work` raises."""
        return await self._run(lambda: self._within(work))

    async def write(self, file: File, parts: Iterable[bytes | memoryview], room: int) -> None:
        """A file of a client, on the disk when this returns. Whoever is cancelled here waits until the thread has let
        go of `parts`. Raises ProxyError storage_unavailable, and Full."""
        await self._run(lambda: self._write(file, parts, room))

    async def piece(self, id: str, start: int, size: int) -> bytes:
        """Raises ProxyError storage_unavailable."""
        return await self._run(lambda: _piece(self.path(id), start, size))

    async def run(self, work: Callable[[], T]) -> T:
        """Anything else that touches the folder. Raises ProxyError storage_unavailable."""
        return await self._run(work)

    async def remove(self, id: str) -> str | None:
        """The batch that still reads it, if one does. Raises ProxyError storage_unavailable."""
        reader = await self.ask(lambda connection: tables.remove_file(connection, id))
        if reader is None:
            await self._run(lambda: self.path(id).unlink(missing_ok=True))
        return reader

    async def close(self) -> None:
        """Whoever asks later finds it open again."""
        if self._connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._close)

    async def _run(self, work: Callable[[], T]) -> T:
        doing = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            return await asyncio.shield(doing)
        except asyncio.CancelledError:
            await asyncio.wait((doing,))
            raise
        except (sqlite3.Error, OSError) as error:
            what = f"The files of this gate cannot be read or written now ({type(error).__name__})."
            raise ProxyError("storage_unavailable", what, retry_after_s=AGAIN_S) from error

    # --- in its thread -----------------------------------------------------------------------------------------------

    def _within(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = tables.connect(self._folder / tables.NAME)
        with self._connection:
            return work(self._connection)

    def _write(self, file: File, parts: Iterable[bytes | memoryview], room: int) -> None:
        """The content first: a file that is known has all of it. One that is not known is swept away."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path, kept = self.path(file.id), False
        try:
            store(path, parts)
            self._within(lambda connection: tables.add_file(connection, file, room))
            kept = True
        finally:
            if not kept:
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def store(path: Path, parts: Iterable[bytes | memoryview]) -> int:
    """Bytes; they are on the disk when this returns. Raises OSError."""
    size = 0
    with os.fdopen(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as written:
        for part in parts:
            size += written.write(part)
        written.flush()
        os.fsync(written.fileno())
    return size


def _piece(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as read:
        read.seek(start)
        return read.read(size)
