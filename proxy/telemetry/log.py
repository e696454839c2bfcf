"""The log: one line a call, at its end, and one for each other event; JSON in a pipe, a short form on a terminal.

A line is made at once, while all of its call is at hand, and waits in a bounded queue for the one thread that writes.
Whatever does not fit is dropped and counted, so a reader that stands still never holds up a call. Content is off: no
prompt, no header and no message of an upstream's or a library's error is written, only names, numbers and codes. Names
that a client chose are made printable, which keeps one call on one line.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Lock
from typing import Literal, Protocol, TypeVar

import msgspec
from msgspec import Struct

from proxy.gatherer import Gatherer
from proxy.telemetry.line import failed, human_form, line_of, printable, utc_text
from proxy.types import Outcome

RECORDS_MAX = 10_000
BATCH_MAX = 1_000
GATHER_S = 0.1  # the writer wakes once for all that arrives in this time
PLACES_MAX = 6  # frames of a library's exception
BEGINNING_MAX = 80  # characters of a library's message

Level = Literal["info", "warning", "error"]
Calls = Literal["all", "failures", "off"]  # that get a line
Field = str | int | float | bool | None
R = TypeVar("R")


class Sink(Protocol):
    """Where lines go. Unbuffered, best: a thread that is stuck in a buffer's lock can spoil the exit of the process."""

    def write(self, data: memoryview, /) -> int | None: ...
    def flush(self) -> None: ...


class Note(Struct, frozen=True):
    """An event other than a call's end."""

    name: str
    level: Level
    fields: Mapping[str, Field]
    wall: float


def json_form(outcome: Outcome) -> bytes:
    return msgspec.json.encode(line_of(outcome))


class RequestLog:
    """`wall` is the clock's; `stream` is written to by one thread only and not closed."""

    def __init__(self, stream: Sink, wall: Callable[[], float], *, terminal: bool = False) -> None:
        self._stream = stream
        self._wall = wall
        self._form: Callable[[Outcome], bytes] = human_form if terminal else json_form
        self._note_form: Callable[[Note], bytes] = _human_note if terminal else _json_note
        self._queue: deque[bytes] = deque()  # lines
        self.calls: Calls = "all"
        self.listener: Callable[[Note], None] | None = None  # hears every event, on the thread it comes from
        self._drops = Lock()
        self._dropped = 0
        self._gatherer = Gatherer("log", GATHER_S, drain=self._drain)

    def __repr__(self) -> str:
        return f"RequestLog({len(self._queue)} waiting, {self._dropped} dropped)"

    @property
    def dropped(self) -> int:
        return self._dropped

    def observe(self, outcome: Outcome) -> None:
        if self.calls == "off" or (self.calls == "failures" and not failed(outcome)):
            return
        if self._has_room():
            self._put(self._form, outcome)

    def event(self, name: str, level: Level, fields: Mapping[str, Field]) -> None:
        note = Note(name, level, {key: _plain(value) for key, value in fields.items()}, self._wall())
        if self._has_room():
            self._put(self._note_form, note)
        self.tell(note)

    def tell(self, note: Note) -> None:
        """To the listener alone: another process has written the line."""
        if self.listener is not None:
            with suppress(RuntimeError):  # its loop has ended before this
                self.listener(note)

    def close(self) -> None:
        """Writes what waits, for a few seconds at most."""
        self._gatherer.close()

    def _has_room(self) -> bool:
        if len(self._queue) < RECORDS_MAX and not self._gatherer.closed:
            return True
        self._drop(1)
        return False

    def _put(self, form: Callable[[R], bytes], record: R) -> None:
        """Drops a record that has no line (a number that JSON cannot hold)."""
        try:
            self._queue.append(form(record))
        except (TypeError, ValueError, OverflowError):
            self._drop(1)
            return
        self._gatherer.wake()

    def _drop(self, count: int) -> None:
        with self._drops:
            self._dropped += count

    # --- the writer's thread -------------------------------------------------------------------------------------

    def _drain(self) -> None:
        while self._queue:
            lines = [self._queue.popleft() for _ in range(min(BATCH_MAX, len(self._queue)))]
            self._write(b"\n".join((*lines, b"")), len(lines))

    def _write(self, data: bytes, records: int) -> None:
        rest = memoryview(data)
        try:
            while rest:
                written = self._stream.write(rest)
                if not written:  # a pipe that does not block and is full
                    raise BlockingIOError
                rest = rest[written:]
            self._stream.flush()
        except (OSError, ValueError):  # a closed pipe, a full disk, a closed file
            self._drop(records)


class LibraryHandler(logging.Handler):
    """Takes what libraries log into the request log without their words: those can quote a request.

    Kept are the logger, the constant beginning of the message, and of an exception its type and the places it passed.
    """

    def __init__(self, log: RequestLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Field] = {"logger": record.name, "what": _beginning(record.msg)}
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            fields["error"] = type(error).__name__
            fields["at"] = _places(error)
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        self._log.event("library", level, fields)


def _beginning(message: object) -> str:
    """The template up to the first sign of a value: a quote, a bracket, a colon, the second line."""
    text = message if isinstance(message, str) else type(message).__name__
    end = next((place for place, sign in enumerate(text) if sign in "\n<({[\"'`:=%"), len(text))
    return text[: min(end, BEGINNING_MAX)].rstrip()


def _places(error: BaseException) -> str:
    """File, line and function of the innermost frames; never a line of source or a value."""
    places: deque[str] = deque(maxlen=PLACES_MAX)
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        file = "/".join(code.co_filename.split("/")[-2:])
        places.append(f"{file}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return " > ".join(places)


def _json_note(note: Note) -> bytes:
    return msgspec.json.encode(
        {"time": utc_text(note.wall), "level": note.level, "event": note.name}
        | {name: _plain(value) for name, value in note.fields.items()}
    )


def _human_note(note: Note) -> bytes:
    pairs = " ".join(f"{name}={_plain(value)}" for name, value in note.fields.items())
    return f"{utc_text(note.wall)[11:19]} {note.level:<7} {note.name} {pairs}".rstrip().encode()


def _plain(value: object) -> Field:
    """Numbers as they are; anything else by its text, so that a type that hides itself stays hidden."""
    return value if isinstance(value, bool | int | float | None) else printable(str(value), 1_000)
