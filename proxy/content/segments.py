"""The files that kept words lie in: a line an entry, a segment for each day and process, apart from the ledger.

Readable by their owner alone (0700, 0600) and not encrypted: nothing that the gate is installed with can encrypt, and
a key that lies in the same folder would protect from nobody; who needs that puts the folder on an encrypted volume.
Whoever writes a segment is told of its deletion by the file having no name any more, so no process has to ask another.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import DecodeError, Struct, json

from proxy.clock import day_wall, secret_bytes
from proxy.state.content_report import ContentEntry, ContentPurged, ContentReport
from proxy.telemetry.line import utc_text

SEGMENT_MAX: Final = 32 * 1024 * 1024  # bytes, then the next one of the day begins
SUFFIX: Final = ".jsonl"
DAY_S: Final = 86_400.0
DAY_CHARS: Final = 10
KEY_BYTES: Final = 32


class Segment(Struct, frozen=True):
    path: Path
    bytes: int
    written_ns: int

    @property
    def day(self) -> str:
        return self.path.name[:DAY_CHARS]


def segments(folder: Path) -> list[Segment]:
    """The oldest first."""
    return sorted(_segments(folder), key=lambda each: (each.day, each.written_ns, each.path.name))


def _segments(folder: Path) -> Iterator[Segment]:
    for path in folder.glob(f"????-??-??.*{SUFFIX}"):
        with suppress(OSError):  # another process has deleted it just now
            found = path.stat()
            yield Segment(path, found.st_size, found.st_mtime_ns)


def load_key(folder: Path) -> bytes:
    """Of the digests; made when it is first asked for. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file, fresh = folder / "key", folder / f".key.{os.getpid()}"
    if not file.exists():
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
            opened.write(secret_bytes(KEY_BYTES))
        with suppress(FileExistsError):  # another process was first
            os.link(fresh, file)
        fresh.unlink()
    return file.read_bytes()


class Writer:
    """One process's."""

    def __init__(self, folder: Path, process: str) -> None:
        self._folder = folder
        self._process = process
        self._file: int | None = None
        self._day = ""
        self._number = 0

    def __repr__(self) -> str:
        return f"Writer({self._day}.{self._process}-{self._number})"

    def write(self, line: bytes, wall: float) -> None:
        """Raises OSError."""
        file = self._opened(utc_text(wall)[:DAY_CHARS])
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(file, rest) :]

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _opened(self, day: str) -> int:
        if self._file is not None:
            found = os.fstat(self._file)
            if day == self._day and found.st_nlink and found.st_size < SEGMENT_MAX:
                return self._file
            self.close()
        self._number = self._number + 1 if day == self._day else 0
        self._day = day
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{day}.{self._process}-{self._number:04}{SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if os.fstat(self._file).st_size:
            os.write(self._file, b"\n")  # the line before it may have been cut by a crash
        return self._file


# --- for whoever asks, and for age ------------------------------------------------------------------------------------


def find(folder: Path, id: str, since_wall: float) -> ContentEntry | None:
    """The entry of a call that arrived then. The id is the beginning of its line."""
    first, beginning = utc_text(since_wall)[:DAY_CHARS], b'{"id":' + json.encode(id) + b","
    for segment in segments(folder):
        if segment.day >= first and segment.bytes:
            with suppress(OSError, DecodeError), segment.path.open("rb") as opened:
                line = _line(opened.fileno(), beginning)
                if line is not None:
                    return json.decode(line, type=ContentEntry)
    return None


def _line(file: int, beginning: bytes) -> bytes | None:
    with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as mapped:
        at = mapped.find(beginning)
        while at > 0 and mapped[at - 1 : at] != b"\n":  # quoted by somebody
            at = mapped.find(beginning, at + 1)
        end = mapped.find(b"\n", at) if at >= 0 else -1
        return mapped[at:end] if end >= 0 else None


def report(folder: Path) -> ContentReport:
    there = segments(folder)
    return ContentReport(len(there), sum(each.bytes for each in there), there[0].day if there else None)


def purge(folder: Path, before_wall: float) -> ContentPurged:
    """Every segment of a day that was over by then."""
    return _delete([each for each in segments(folder) if day_wall(each.day) + DAY_S <= before_wall])


def trim(folder: Path, bytes_max: int) -> ContentPurged:
    """The oldest, until the rest fits."""
    there, gone = segments(folder), list[Segment]()
    size = sum(each.bytes for each in there)
    for segment in there:
        if size <= bytes_max:
            break
        gone.append(segment)
        size -= segment.bytes
    return _delete(gone)


def _delete(gone: list[Segment]) -> ContentPurged:
    for segment in gone:
        segment.path.unlink(missing_ok=True)
    return ContentPurged(len(gone), sum(each.bytes for each in gone))
