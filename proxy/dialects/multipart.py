"""Finds small text fields in a multipart/form-data body, and nothing else.

It reports where the values of the named fields stand, so that one can be read or replaced without touching the files
beside it. It never copies or decodes a part. Anything two parsers could read differently is refused. RFC 7578 and
RFC 2046 5.1.
"""

from __future__ import annotations

import re

from proxy.errors import ProxyError

PARTS_MAX = 256
HEAD_BYTES_MAX = 8 * 1024

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^\s;,"]{1,70}))\s*(?:;|$)', re.IGNORECASE)
_FILE_NAME = re.compile(rb';[ \t]*filename="?([^"\r\n;]*)"?', re.IGNORECASE)
_FIELD = re.compile(rb'^content-disposition:[ \t]*form-data[^\r\n]*?;[ \t]*name="?([^"\r\n;]*)"?', re.I | re.M)


def find_fields(raw: bytes, content_type: str, names: frozenset[str]) -> dict[str, slice]:
    """Positions of the values of `names`. Raises ProxyError invalid_request."""
    found: dict[str, slice] = {}
    delimiter = b"--" + _boundary(content_type)
    at = 0 if raw.startswith(delimiter) else raw.find(b"\r\n" + delimiter) + 2
    if at == 1:
        raise _broken("its boundary never occurs")
    for _ in range(PARTS_MAX):
        at += len(delimiter)
        if raw.startswith(b"--", at):
            return found
        start = _body_start(raw, at)
        end = raw.find(b"\r\n" + delimiter, start - 2)
        if end < 0:
            raise _broken("its last part has no end")
        name = _field_name(raw[at:start])
        if name in found:
            raise ProxyError("invalid_request", f"The form names '{name}' more than once.", param=name)
        if name in names:
            found[name] = slice(start, max(start, end))
        at = end + 2
    raise _broken(f"it has more than {PARTS_MAX} parts")


def file_name(raw: bytes, value: slice) -> str:
    """What the head before a value that was found says the file is called; "" where it says nothing."""
    head = raw[max(0, value.start - HEAD_BYTES_MAX) : value.start]
    disposition = head[head.lower().rfind(b"content-disposition:") :]
    named = _FILE_NAME.search(disposition)
    return "" if named is None else str(named[1], "utf-8", "replace")


def _boundary(content_type: str) -> bytes:
    match = _BOUNDARY.search(content_type)
    if match is None or not content_type.isascii():
        raise _broken("its Content-Type names no boundary")
    return (match[1] or match[2]).encode()


def _body_start(raw: bytes, at: int) -> int:
    """Behind the blank line that ends a part's head, which begins right after the delimiter."""
    if not raw.startswith(b"\r\n", at):
        raise _broken("a boundary is followed by other text")
    end = raw.find(b"\r\n\r\n", at, at + HEAD_BYTES_MAX)
    if end < 0:
        raise _broken("a part's head is too long or has no end")
    return end + 4


def _field_name(head: bytes) -> str:
    names = _FIELD.findall(head)
    if len(names) != 1 or head.lower().count(b"content-disposition:") != 1:
        raise _broken("a part has no name of its own")
    return str(names[0], "utf-8", "replace")


def _broken(reason: str) -> ProxyError:
    return ProxyError("invalid_request", f"The multipart body cannot be read: {reason}.")
