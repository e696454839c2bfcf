"""A reply as bytes of HTTP/1.1, written in one piece: status line, headers and body, or the chunks of a stream.

aiohttp reads requests; replies it would build from several objects and coroutines, at a cost that a gate pays for every
call and every chunk. RFC 9112. A header that holds a line break never leaves: it would end the head where it stands.
"""

from __future__ import annotations

from http import HTTPStatus

from aiohttp.helpers import rfc822_formatted_time

Headers = list[tuple[str, str]]

LAST_CHUNK = b"0\r\n\r\n"
SERVER = "headgate"


def head(status: int, headers: Headers, *, framing: str, keep_alive: bool, chunks: bool) -> bytes:
    """`framing` is the header line that says how the body ends, or "" when the connection's end does; `chunks`: the
    client speaks HTTP/1.1."""
    lines = [f"HTTP/1.{1 if chunks else 0} {status} {_reason(status)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines += (f"Date: {rfc822_formatted_time()}", f"Server: {SERVER}")
    if framing:
        lines.append(framing)
    if keep_alive is not chunks:  # otherwise it goes without saying
        lines.append("Connection: keep-alive" if keep_alive else "Connection: close")
    block = "\r\n".join(lines)
    if block.count("\n") != len(lines) - 1 or block.count("\r") != len(lines) - 1:
        raise ValueError("a header holds a line break")
    return block.encode("utf-8", "surrogateescape") + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Nothing for nothing: a chunk of no bytes would be the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
