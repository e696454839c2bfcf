"""Exact token counts for OpenAI's vocabularies, with `tiktoken` over ranks that ship with the package.

Nothing is ever downloaded: `vocab/` holds each vocabulary's pattern and special tokens as one line of JSON, then its
tokens in rank order, each behind a byte with its length, packed with xz by `generate_vocab.py`. Text is always counted
as text: a user who writes a special token's name gets the tokens of its letters. This module alone imports tiktoken,
and a vocabulary is unpacked when it is first used (0.2 s, 87 MB), so it is imported only when counting is wanted.
"""

from __future__ import annotations

import lzma
from importlib import resources
from threading import Lock

import tiktoken
from msgspec import Struct, json

from pricing.tokens import encoding_for

__all__ = ["ENCODINGS", "Counter", "encoding_for", "unpack"]

ENCODINGS = ("cl100k_base", "o200k_base")
# Merging is worse than linear in the length of a word. A cut adds at most a few tokens to a count of thousands.
PIECE_CHARS = 50_000


class Header(Struct, frozen=True):
    """First line of a packed vocabulary."""

    name: str
    pat_str: str
    special_tokens: dict[str, int]


def unpack(packed: bytes) -> tuple[Header, dict[bytes, int]]:
    """The header, and each token's rank."""
    line, _, tokens = lzma.decompress(packed).partition(b"\n")
    ranks: dict[bytes, int] = {}
    at, end = 0, len(tokens)
    while at < end:
        after = at + 1 + tokens[at]
        ranks[tokens[at + 1 : after]] = len(ranks)
        at = after
    return json.decode(line, type=Header), ranks


class Counter:
    """Counts in any thread; the vocabularies it has loaded stay loaded."""

    def __init__(self) -> None:
        self._encodings: dict[str, tiktoken.Encoding] = {}
        self._loading = Lock()  # two threads that need the same vocabulary must not both build it

    def __repr__(self) -> str:
        return f"Counter({', '.join(self._encodings) or 'nothing loaded'})"

    def count(self, text: str, encoding: str) -> int:
        """Tokens in `text`. Raises ValueError for an encoding that is not one of ENCODINGS."""
        counting = self._encodings.get(encoding) or self._load(encoding)
        if len(text) <= PIECE_CHARS:
            return len(counting.encode_ordinary(text))
        pieces = range(0, len(text), PIECE_CHARS)
        return sum(len(counting.encode_ordinary(text[at : at + PIECE_CHARS])) for at in pieces)

    def _load(self, encoding: str) -> tiktoken.Encoding:
        if encoding not in ENCODINGS:
            raise ValueError(f"no vocabulary {encoding!r} is packed; there are {', '.join(ENCODINGS)}")
        with self._loading:
            loaded = self._encodings.get(encoding)
            if loaded is None:
                header, ranks = unpack(resources.files("pricing").joinpath("vocab", f"{encoding}.xz").read_bytes())
                loaded = self._encodings[encoding] = tiktoken.Encoding(
                    header.name,
                    pat_str=header.pat_str,
                    mergeable_ranks=ranks,
                    special_tokens=header.special_tokens,
                )
        return loaded
