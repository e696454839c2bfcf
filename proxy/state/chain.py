"""The hash chain of the ledger: each row's hash covers the row and the hash before it, so that no edit goes unseen.

A hash is SHA-256 (FIPS 180-4) over the previous one and the row's values as a MessagePack array: a tag and a length
stand before every value, integers, floats, text, bytes and nothing are distinct, and there is one encoding for each
(the shortest integer, 64 bits for a float). What a row's values are, and in which order, is the ledger's matter. A cut
tail leaves a chain that is whole: for that the newest hash is also kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from msgspec import msgpack

GENESIS: Final = bytes(32)

_ENCODER: Final = msgpack.Encoder()


def link(previous: bytes, row: Sequence[str | int | float | bytes | None]) -> bytes:
    """The hash of `row`. Raises UnicodeEncodeError or OverflowError for what no ledger can hold."""
    return sha256(previous + _ENCODER.encode(row)).digest()
