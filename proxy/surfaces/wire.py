"""A reply as bytes of HTTP/1.1, written in one piece: status line, headers and body, or the chunks of a stream.

A library would build it from several objects and coroutines, at a cost that a gate pays for every call and every chunk.
RFC 9112. A header that holds a line break never leaves: it would end the head where it stands.
"""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus

from proxy.clock import http_date

Headers = list[tuple[str, str]]

LAST_CHUNK = b"0\r\n\r\n"
SERVER_LINE = "Server: headgate"
END = "\r\n"


def head(status: int, headers: Headers, *, framing: str, keep_alive: bool, chunks: bool) -> bytes:
    """`framing` is the header line that says how the body ends, or "" when the connection's end does; `chunks`: the
    client speaks HTTP/1.1."""
    lines = [_status_line(status, chunks), *map(": ".join, headers), f"Date: {http_date()}", SERVER_LINE]
    if framing:
        lines.append(framing)
    if keep_alive is not chunks:  # otherwise it goes without saying
        lines.append("Connection: keep-alive" if keep_alive else "Connection: close")
    text = "".join(lines)  # to look for what is not there is far cheaper than to count what is
    if "\n" in text or "\r" in text:
        raise ValueError("a header holds a line break")
    lines.append(END)
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def chunk(data: bytes) -> bytes:
    """Nothing for nothing: a chunk of no bytes would be the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


@lru_cache(maxsize=256)
def _status_line(status: int, chunks: bool) -> str:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    return f"HTTP/1.{1 if chunks else 0} {status} {phrase}"
