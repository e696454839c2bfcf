"""Server-sent events: where one ends and the next begins, and what an event says.

The splitter cuts a byte stream into whole events and changes no byte, so a stream joined again is the stream that came.
It reads line ends as the standard does (LF, CRLF, CR, mixed); it does not judge what the data means.
WHATWG HTML, "Server-sent events", 9.2.6. Two liberties: an event the stream ends in without a blank line still counts,
as clients read it; and a byte order mark is skipped before any event, not only the first.

Theory: an event ends at a line end followed by one or more line ends. A CR that is the last byte so far may be the
first half of a CRLF; its event is handed out at once (no token waits), and the LF then comes as a piece that consists
of line ends only. Such a piece shares the fate of the event before it, so any split gives the same bytes.
"""

from __future__ import annotations

import re

from proxy.dialects.base import EVENT_BYTES_MAX
from proxy.errors import ProxyError

LINE_END = b"\r\n"
DONE = b"[DONE]"

_EVENT_END = re.compile(rb"\n[\r\n]+|\r(?:\n[\r\n]+|\r[\r\n]*)")
_LINE_ENDS = re.compile(rb"[\r\n]+")
_OVERLAP = 3  # bytes of a CRLF CRLF that may have come before the last of them
_BOM = b"\xef\xbb\xbf"


class Splitter:
    """Holds back the event that has not ended yet; `held` is empty between two events."""

    __slots__ = ("_searched", "held")

    def __init__(self) -> None:
        self.held = bytearray()
        self._searched = 0

    def __repr__(self) -> str:
        return f"Splitter(held={len(self.held)} bytes)"

    def feed(self, data: bytes) -> list[bytes]:
        """The events that are now whole. Raises ProxyError upstream_broken for one that is too long."""
        if not self.held:
            if is_one_line(data) and len(data) <= EVENT_BYTES_MAX:
                return [data]
            events, rest = _cut(data, 0)
            self.held += data[rest:]
        else:
            self.held += data
            events, rest = _cut(self.held, self._searched)
            del self.held[:rest]
        self._searched = max(0, len(self.held) - _OVERLAP)  # so an event in tiny pieces is searched once, not often
        if len(self.held) > EVENT_BYTES_MAX or max(map(len, events), default=0) > EVENT_BYTES_MAX:
            raise ProxyError("upstream_broken", f"The upstream sent an event above {EVENT_BYTES_MAX} bytes.")
        return events

    def close(self) -> bytes:
        """What the stream ended in, without its blank line."""
        rest = bytes(self.held)
        self.held.clear()
        return rest


def is_one_line(data: bytes) -> bool:
    """Exactly one event, of one line: the common case."""
    return data.find(b"\n") == len(data) - 2 and data.endswith(b"\n\n") and b"\r" not in data


def _cut(data: bytes | bytearray, searched: int) -> tuple[list[bytes], int]:
    """The whole events of `data` and where the rest of it begins."""
    events: list[bytes] = []
    start = 0
    next_end = _next_lf_end if b"\r" not in data else _EVENT_END.search
    while start < len(data):
        match = _LINE_ENDS.match(data, start) or next_end(data, max(start, searched))
        if match is None:
            break
        events.append(bytes(data[start : match.end()]))
        start = match.end()
    return events, start


def _next_lf_end(data: bytes | bytearray, start: int) -> re.Match[bytes] | None:
    """As `_EVENT_END.search` where no CR occurs; the expression looks at every byte and takes twenty times as long."""
    at = data.find(b"\n\n", start)
    return _LINE_ENDS.match(data, at) if at >= 0 else None


def fields_of(event: bytes) -> tuple[bytes, bytes]:
    """(name, data) of an event; data is b"" if it has none, as in a comment."""
    name, data = b"", []
    for line in event.removeprefix(_BOM).splitlines():
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return name, b"\n".join(data)
