"""An append-only file of records that outlives the process: what was appended is there after SIGKILL.

A record is copied into a mapping of the file, so the kernel has it when `append` returns, at the cost of a copy: a
`write` to a file that is being synced waits for the disk. A power loss spares what was synced. A record is a kind (one
byte), the length of its payload (four, big-endian), the payload, and a CRC-32 of all that. Reading stops at the first
that is not whole, such as the zeros that make room behind the last. The file stays bounded by `rotate`: what still
matters is written into a fresh one, and the old one is kept until that is on the disk, so rotating never waits. Whoever
reads may meet a record twice, or one that was done with: records need ids. What they mean is their writer's matter.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from mmap import PAGESIZE, mmap
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import crc32

SIZE_MAX: Final = 8 * 1024 * 1024
WINDOW: Final = 256 * 1024  # mapped at a time
HEAD: Final = Struct(">BI")
CHECK: Final = Struct(">I")


class Journal:
    """`append` and `rotate` belong to one thread; `sync` may be called from another. All may raise OSError."""

    def __init__(self, path: Path, *, size_max: int = SIZE_MAX) -> None:
        """Goes on after the last whole record of the file, if there is one."""
        self.path = path
        self._old = _old(path)
        self._size_max = size_max
        whole = sum(map(_length, _records(path)))
        self._fd = _open(path)
        os.ftruncate(self._fd, whole)
        self._size = self._least = whole
        self._window: mmap | None = None  # of the file, from `_base` on
        self._base = self._end = 0
        self._unsynced = True  # who knows what the process before left
        self._old_fd: int | None = os.open(self._old, os.O_RDONLY) if self._old.exists() else None

    def __repr__(self) -> str:
        return f"Journal({str(self.path)!r}, {self._size} bytes)"

    @property
    def full(self) -> bool:
        """It should be rotated: most of it is likely to be done with."""
        return self._size > self._size_max and self._size > 2 * self._least and self._old_fd is None

    @property
    def unsynced(self) -> bool:
        return self._unsynced

    @property
    def stale(self) -> bool:
        """An old file lies beside this one until the next `sync`."""
        return self._old_fd is not None

    def append(self, kind: int, payload: bytes) -> None:
        """On OSError (the disk is full) the record is not there."""
        record = _record(kind, payload)
        window, size = self._window, len(record)
        if window is None or self._size + size > self._end:
            window = self._make_room(size)
        at = self._size - self._base
        window[at : at + size] = record
        self._size += size
        self._unsynced = True

    def rotate(self, live: Iterable[tuple[int, bytes]]) -> None:
        """Goes on in a fresh file that begins with `live`. Not before the old one of the last time is gone (`full`)."""
        if self._old_fd is not None:
            return
        data = b"".join([_record(kind, payload) for kind, payload in live])
        new = self.path.with_name(f"{self.path.name}.new")
        new.unlink(missing_ok=True)
        fresh = _open(new)
        try:
            _write_whole(fresh, data, 0)
        except OSError:
            os.close(fresh)
            raise
        os.replace(self.path, self._old)  # from here to the next line, all that matters is in the old one
        os.replace(new, self.path)
        self._shut_window()
        self._old_fd, self._fd = self._fd, fresh
        self._size = self._least = len(data)
        self._unsynced = True

    def sync(self) -> None:
        """What was appended is on the disk when this returns."""
        if not self._unsynced:
            return
        self._unsynced = False  # first: what comes in between has to be synced again
        fd, stale = self._fd, self._old_fd
        os.fdatasync(fd)
        if stale is not None and stale != fd:
            _sync_folder(self.path.parent)
            self._old.unlink(missing_ok=True)
            os.close(stale)
            self._old_fd = None

    def close(self) -> None:
        self._shut_window()
        os.ftruncate(self._fd, self._size)
        os.close(self._fd)
        if self._old_fd is not None:
            os.close(self._old_fd)

    def _make_room(self, size: int) -> mmap:
        """For so many bytes at least. They are written as zeros first: what is mapped has its place on the disk."""
        base = self._size - self._size % PAGESIZE
        least = self._size - base + size
        length = max(WINDOW, least)
        try:
            _write_whole(self._fd, bytes(base + length - self._size), self._size)
        except OSError:  # there may be room for this one
            length = least
            _write_whole(self._fd, bytes(size), self._size)
        self._shut_window()
        window = self._window = mmap(self._fd, length, offset=base)
        self._base, self._end = base, base + length
        return window

    def _shut_window(self) -> None:
        if self._window is not None:
            self._window.close()
            self._window = None

    @staticmethod
    def read(path: Path) -> Iterator[tuple[int, bytes]]:
        """(kind, payload) of all whole records, oldest first. Nothing, where there is no file."""
        for file in (_old(path), path):
            yield from _records(file)

    @staticmethod
    def clear(path: Path) -> None:
        """All of it is done with. Not while one is open."""
        for file in (_old(path), path):
            file.unlink(missing_ok=True)


def _write_whole(fd: int, data: bytes, at: int) -> None:
    if os.pwrite(fd, data, at) < len(data):
        raise OSError("the disk took a part of a record only")


def _record(kind: int, payload: bytes) -> bytes:
    record = HEAD.pack(kind, len(payload)) + payload
    return record + CHECK.pack(crc32(record))


def _length(record: tuple[int, bytes]) -> int:
    return HEAD.size + len(record[1]) + CHECK.size


def _records(file: Path) -> Iterator[tuple[int, bytes]]:
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return
    at = 0
    while at + HEAD.size + CHECK.size <= len(data):  # ends: each record moves it on
        kind, length = HEAD.unpack_from(data, at)
        end = at + HEAD.size + length
        if end + CHECK.size > len(data) or CHECK.unpack_from(data, end)[0] != crc32(data[at:end]):
            return
        yield kind, data[at + HEAD.size : end]
        at = end + CHECK.size


def _old(path: Path) -> Path:
    return path.with_name(f"{path.name}.old")


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
