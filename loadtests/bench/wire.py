"""HTTP/1.1 as the benchmark's clients need it: one request as bytes, one reply out of bytes, no I/O.

Replies have a length or come in chunks; anything else is an error. A request holds `@NUMBER@` in its body, which each
sending replaces with a number of fixed width, so that its length is known beforehand.
"""

from __future__ import annotations

import re

NUMBER_MARK = b"@NUMBER@"
NUMBER_WIDTH = 12

LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)


class Request:
    """POST /v1/chat/completions with `body`; `numbered` gives the bytes to send."""

    def __init__(self, body: bytes, key: str) -> None:
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {key}\r\nContent-Length: {len(body) - len(NUMBER_MARK) + NUMBER_WIDTH}\r\n\r\n"
        )
        self._before, self._after = (head.encode() + body).split(NUMBER_MARK)

    def numbered(self, number: int) -> bytes:
        return b"%b%0*d%b" % (self._before, NUMBER_WIDTH, number, self._after)


class Reply:
    """One reply; `feed` returns what the bytes add to the body, without framing. `done` once it is whole."""

    __slots__ = ("_buffer", "_chunked", "_left", "done", "status")

    def __init__(self) -> None:
        self.status = 0
        self.done = False
        self._buffer = b""
        self._chunked = False
        self._left = 0

    def feed(self, data: bytes) -> bytes:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        if not self.status:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = data
                return b""
            self._read_head(data[:end])
            data = data[end + 4 :]
        return self._dechunk(data) if self._chunked else self._take(data)

    def _read_head(self, head: bytes) -> None:
        self.status = int(head[9:12])
        length = LENGTH.search(head)
        self._chunked = length is None and CHUNKED.search(head) is not None
        if length is None and not self._chunked:
            raise ValueError(f"a reply without a length: {head[:200]!r}")
        self._left = int(length[1]) if length else 0

    def _take(self, data: bytes) -> bytes:
        self._left -= len(data)
        self.done = self._left <= 0
        return data

    def _dechunk(self, data: bytes) -> bytes:
        parts = []
        at = 0
        while (end := data.find(b"\r\n", at)) >= 0:
            size = int(data[at:end], 16)
            if len(data) < end + 4 + size:
                break
            parts.append(data[end + 2 : end + 2 + size])
            at = end + 4 + size
            self.done = size == 0
        self._buffer = data[at:]
        return parts[0] if len(parts) == 1 else b"".join(parts)
