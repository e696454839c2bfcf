"""The live feed of a running gate (`GET /events`, server-sent events), for `top` and `tail`.

A connection that breaks is made again, after growing pauses, and goes on behind the last message heard; one that was
never made is a `Refusal`. The form of a stream of events is that of the WHATWG HTML standard, 9.2.6; what the messages
mean is `proxy.telemetry.live_report`'s business.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from http.client import HTTPException
from typing import Final

from msgspec import DecodeError, Struct
from msgspec.json import decode

from proxy.cli.asking import Refusal, opened
from proxy.telemetry.live_report import Delta, Event, Snapshot

PATH: Final = "/events"
SILENCE_S: Final = 30.0  # three heartbeats
PAUSES_S: Final = (0.5, 1.0, 2.0, 5.0)  # before each further try in a row; then it is given up
LINE_BYTES_MAX: Final = 8 * 1024 * 1024

Message = Snapshot | Delta | Event
SHAPES: Final[dict[str, type[Snapshot] | type[Delta] | type[Event]]] = {
    "snapshot": Snapshot,
    "delta": Delta,
    "event": Event,
}


class Said(Struct, frozen=True):
    """One event of a stream, undecoded."""

    event: str
    data: bytes
    id: str


def said(lines: Iterable[bytes]) -> Iterator[Said]:
    """Comments, which are heartbeats, and events without data are passed over."""
    event, data, id = "message", list[bytes](), ""
    for line in lines:
        text = line.rstrip(b"\r\n")
        if not text:
            if data:
                yield Said(event, b"\n".join(data), id)
            event, data = "message", []
            continue
        name, _, value = text.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value.decode()
        elif name == b"id":
            id = value.decode()


class Feed:
    """An iterable of messages, the first of which is a snapshot. `pause` sleeps so many seconds."""

    def __init__(self, args: argparse.Namespace, pause: Callable[[float], object]) -> None:
        self._args = args
        self._pause = pause
        self._last_id = ""
        self._tries = 0  # in a row, in vain

    def __repr__(self) -> str:
        return f"Feed({self._args.admin}, after {self._last_id or 'nothing'})"

    def __iter__(self) -> Iterator[Message]:
        """Raises Refusal: there is no gate, or it has been gone for too long."""
        yield from self._heard()
        while True:  # ends with the Refusal of the last try in a row
            try:
                yield from self._heard()
            except Refusal:
                if self._tries >= len(PAUSES_S):
                    raise
            self._pause(PAUSES_S[min(self._tries, len(PAUSES_S) - 1)])
            self._tries += 1

    def _heard(self) -> Iterator[Message]:
        """Of one connection, until it ends."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": self._last_id} if self._last_id else {})
        with opened(self._args, PATH, headers, timeout_s=SILENCE_S) as reply:
            try:
                for each in said(iter(lambda: reply.readline(LINE_BYTES_MAX), b"")):
                    self._last_id, self._tries = each.id, 0
                    shape = SHAPES.get(each.event)
                    if shape is not None:
                        yield decode(each.data, type=shape)
            except DecodeError as error:
                raise Refusal(f"{self._args.admin} is a gate of another version: {error}") from error
            except (OSError, HTTPException):
                return  # it went away; the caller asks again
