"""The thread of the archive: what it holds is let go of before whoever has given it goes on."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from threading import Event

import pytest

from proxy.batches.archive import Archive
from proxy.batches.objects import File
from proxy.errors import ProxyError


async def test_who_leaves_in_the_middle_of_a_write_goes_once_it_is_over(tmp_path: Path) -> None:
    """Else clients that send and leave would fill the memory with what waits for the disk."""
    archive, going_on = Archive(tmp_path / "batches"), Event()
    file = File("file-1", "key k", "in", "batch", 1, 0, 10)
    blocking = asyncio.gather(archive.run(going_on.wait))
    writing = asyncio.gather(archive.write(file, (b"x",), 100))
    await asyncio.sleep(0)
    writing.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    waited = not writing.done()
    going_on.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await blocking
    assert waited
    assert (tmp_path / "batches" / "file-1").read_bytes() == b"x"
    await archive.close()


async def test_a_disk_that_fails_is_an_error_that_can_be_told(tmp_path: Path) -> None:
    def full(connection: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    archive = Archive(tmp_path / "batches")
    with pytest.raises(ProxyError) as failed:
        await archive.ask(full)
    assert (failed.value.code, failed.value.retry_after_s) == ("storage_unavailable", 5.0)
    assert archive.begun
    await archive.close()
