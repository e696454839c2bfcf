"""What a request says of answers that are known already; surfaces and dialects read it, the caches heed it."""

from __future__ import annotations

from msgspec import Struct


class Reuse(Struct, frozen=True):
    """What a request says of answers that are known already."""

    read: bool = True  # it takes one
    write: bool = True  # its own may be kept
    only: bool = False  # it takes nothing else
    semantic: bool = True  # it takes one to a question that means the same
    age_s: float | None = None  # it takes none that is older
    ttl_s: float | None = None  # its own is kept for so long
    key: str | None = None  # its idempotency key
