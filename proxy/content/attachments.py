"""Pictures, sounds and files that stand in a JSON body as long texts: kept as what they are, how long and a digest.

Looked for before anything is parsed, since they are most of the bytes of such a body: what stands between two quotes is
one if it is a data URL (RFC 2397), or long and nothing but base64 (RFC 4648). Within a text, such as a request that an
error quotes, the data of such a URL is one, and any word that could be and is too long to be anything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Final

LEAST: Final = 1_024  # characters: shorter base64 may be a word
NAME_MAX: Final = 128  # characters of a data URL before its data
BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=\\"

_OF_URL: Final = re.compile(r"(?<=;base64,)[A-Za-z0-9+/=_-]+")
_LONG: Final = re.compile(rf"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{{{LEAST},}}={{0,2}}")

Digest = Callable[[bytes], str]


def put_away(body: bytes, digest: Digest) -> bytes:
    """The body, as JSON as it was, with a note in place of each."""
    if b";base64," not in body and len(body) < LEAST:
        return body
    pieces = body.split(b'"')
    for at, piece in enumerate(pieces):
        kind = _kind(piece)
        if kind is not None:
            pieces[at] = _note(kind, piece, digest).encode()
    return b'"'.join(pieces)


def put_away_within(text: str, digest: Digest) -> str:
    """The same of a text."""
    noted = partial(_noted, digest=digest)
    if ";base64," in text:
        text = _OF_URL.sub(noted, text)
    if len(text) >= LEAST and max(map(len, text.split()), default=0) >= LEAST:
        text = _LONG.sub(noted, text)
    return text


def _noted(found: re.Match[str], digest: Digest) -> str:
    return _note("base64", found[0].encode(), digest)


def _note(kind: str, data: bytes, digest: Digest) -> str:
    return f"[{kind}, {len(data)} characters, digest {digest(data)}]"


def _kind(piece: bytes) -> str | None:
    """None: no attachment."""
    if piece.startswith(b"data:"):
        name, comma, _ = piece[: NAME_MAX + 1].partition(b",")
        if comma and b" " not in name and not piece.endswith(b"\\"):
            media = name[len(b"data:") :].partition(b";")[0].replace(b"\\", b"").decode("ascii", "replace")
            return media if media.isprintable() and media else "data"
        return None
    if len(piece) < LEAST or piece[:256].translate(None, BASE64) or piece.translate(None, BASE64):
        return None
    return "base64"
