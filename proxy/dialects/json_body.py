"""One level of a JSON object, with every value still the bytes it came as.

Decides whether a body is one JSON object whose names are all different, and splices new values into the original bytes;
what a value means is its reader's business. Numbers, escapes, order and white space survive because nothing is decoded
that nobody reads. RFC 8259; a lone surrogate escape is legal there, so the readers below accept it, though msgspec
does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw

from proxy.errors import ProxyError

_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_ANY = msgspec.json.Decoder()
_BOM = b"\xef\xbb\xbf"
_NAME = re.compile(rb'[ \t\n\r{,]*"([^"\\]*(?:\\.[^"\\]*)*)"[ \t\n\r]*:[ \t\n\r]*', re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD]([89a-fA-F])([0-9a-fA-F]{2})")
_SURROGATES_MAX = 200_000  # each costs a call; a body that needs more is no conversation
_NAMES_MAX = 1_000
_AFTER_VALUE = b" \t\n\r,}"
_NAME_SHOWN_MAX = 64
_BACKSLASH = ord("\\")


class RepeatedName(ValueError):
    """One object, one name, two values: two readers of it would see two different requests."""

    def __init__(self, name: str) -> None:
        self.name = name.encode("ascii", "backslashreplace").decode()[:_NAME_SHOWN_MAX]
        super().__init__(f"'{self.name}' occurs more than once")


def top_level(raw: bytes) -> dict[str, Raw]:
    """The members of a client's body. Raises ProxyError invalid_json, or invalid_request for a repeated name."""
    return members(raw)[0]


def members(raw: bytes) -> tuple[dict[str, Raw], bool]:
    """The same, and whether `raw` is nothing but them; `patch` is quicker where it is told."""
    if not raw:
        raise ProxyError("invalid_json", "The request body is empty; send a JSON object.")
    if raw.startswith(_BOM):
        raise ProxyError("invalid_json", "The request body begins with a byte order mark; send plain UTF-8.")
    try:
        fields = object_of(raw)
        if len(fields) > _NAMES_MAX:
            raise ProxyError("invalid_request", f"The request body has more than {_NAMES_MAX} members.")
        compact = _is_compact(raw, fields)
        _refuse_repeated_names(raw, fields, compact)
    except RepeatedName as error:
        text = f"The request body names '{error.name}' more than once."
        raise ProxyError("invalid_request", text, param=error.name) from None
    except UnicodeDecodeError as error:
        raise ProxyError("invalid_json", f"The request body is not UTF-8 (byte {error.start}).") from None
    except msgspec.ValidationError:
        raise ProxyError("invalid_request", "The request body must be a JSON object.") from None
    except ValueError as error:
        raise ProxyError("invalid_json", f"The request body is not valid JSON: {error}.") from None
    return fields, compact


def object_of(raw: bytes) -> dict[str, Raw]:
    """The members of any JSON object in UTF-8; of a repeated name the last. Raises ValueError."""
    if not raw.isascii():
        raw.decode()
    try:
        return _OBJECT.decode(raw)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return _with_lone_surrogates(raw)


def loads(raw: bytes | Raw) -> Any:
    """Any JSON value, decoded. Raises ValueError."""
    try:
        return _ANY.decode(raw)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError:  # a lone surrogate, a number beyond a double, invalid UTF-8: the standard library takes them
        pass
    try:
        return json.loads(str(raw, "utf-8", "replace"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def dumps(value: object) -> bytes:
    """Compact JSON; escaped only where a lone surrogate leaves no other way. Raises ValueError for NaN."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def patch(raw: bytes, fields: dict[str, Raw], changes: dict[str, bytes], *, compact: bool = False) -> bytes:
    """`raw` with the values of `changes` in place of its own, or appended; all other bytes stay where they are.
    `compact`: known to be nothing but its members; else that is looked up."""
    if not changes:
        return raw
    if compact or _is_compact(raw, fields):  # the common case: then encoding the members gives these very bytes
        return msgspec.json.encode(fields | {name: Raw(value) for name, value in changes.items()})
    pieces: list[bytes] = []
    at = 0
    waiting = sum(name in fields for name in changes)
    walk = _walk(raw, fields)
    while waiting:
        key, start, end = next(walk)
        value = changes.get(_name(raw[key]))
        if value is not None:
            pieces += (raw[at:start], value)
            at = end
            waiting -= 1
    brace = raw.rindex(b"}")
    pieces.append(raw[at:brace])
    comma = b"," if fields else b""
    for name, value in changes.items():
        if name not in fields:
            pieces.append(b'%b"%b":%b' % (comma, name.encode(), value))
            comma = b","
    pieces.append(raw[brace:])
    return b"".join(pieces)


def without(raw: bytes, fields: dict[str, Raw], names: frozenset[str]) -> tuple[bytes, dict[str, Raw]]:
    """The object and its members, but for those; every value that stays is the bytes it came as."""
    kept = {name: value for name, value in fields.items() if name not in names}
    if _is_compact(raw, fields):
        return msgspec.json.encode(kept), kept
    others = [raw[key.start - 1 : end] for key, _, end in _walk(raw, fields) if _name(raw[key]) not in names]
    return b"{%b}" % b",".join(others), kept


def _refuse_repeated_names(raw: bytes, fields: dict[str, Raw], compact: bool) -> None:
    """Neither in another case: a reader in Go would take `Model` for `model`."""
    names = "".join(fields)
    if not (names.islower() and names.isascii()):
        folded: set[str] = set()
        for name in fields:
            if name.casefold() in folded:
                raise RepeatedName(name)
            folded.add(name.casefold())
    if not compact:
        for _ in _walk(raw, fields):
            pass


def _is_compact(raw: bytes, fields: dict[str, Raw]) -> bool:
    """Whether `raw` is its members and nothing else: no white space between them, and none that the decoder dropped.
    A name that is not ASCII may hold what the encoder refuses."""
    return "".join(fields).isascii() and msgspec.json.encode(fields) == raw


def _walk(raw: bytes, fields: dict[str, Raw]) -> Iterator[tuple[slice, int, int]]:
    """Name and value positions of each member, in order. Raises RepeatedName.

    Of equal names the decoder kept the last. So a value that is not the kept one, or a kept one met twice, betrays the
    repetition, and no value has to be scanned to find its end.
    """
    seen: set[str] = set()
    at = 0
    while match := _NAME.match(raw, at):
        name, start = _name(match[1]), match.end()
        at = start + len(memoryview(fields[name]))
        if name in seen or not raw.startswith(fields[name], start) or raw[at] not in _AFTER_VALUE:
            raise RepeatedName(name)
        seen.add(name)
        yield slice(*match.span(1)), start, at


def _name(raw: bytes) -> str:
    if b"\\" in raw:
        return str(json.loads(b'"%b"' % raw))
    return raw.decode()


def _with_lone_surrogates(raw: bytes) -> dict[str, Raw]:
    """Decodes a shadow in which each surrogate escape is a private character of equal length, then cuts the original
    at the same places. What is broken in the shadow too is broken."""
    if raw.count(b"\\ud") + raw.count(b"\\uD") > _SURROGATES_MAX:
        raise ValueError("it escapes too many surrogates")
    shadow = _SURROGATE.sub(_private, raw)
    try:
        fields = _OBJECT.decode(shadow)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return {_name(raw[key]): Raw(raw[start:end]) for key, start, end in _walk(shadow, fields)}


def _private(match: re.Match[bytes]) -> bytes:
    raw, at = match.string, match.start()
    before = at
    while before > 0 and raw[before - 1] == _BACKSLASH:
        before -= 1
    if (at - before) % 2:  # the backslash is itself escaped: text, not an escape
        return match[0]
    return b"\\ue%d%b" % (int(match[1], 16) - 8, match[2])
