"""What is said of known answers on the admin listener. Declarations only."""

from __future__ import annotations

from msgspec import Struct


class Savings(Struct, frozen=True):
    """Of one cache since the start of the gate, all its processes together."""

    looked_up: dict[str, int]  # by result
    saved_tokens: int = 0  # of input and output
    saved_usd_nanos: int = 0
    compared: dict[str, int] = {}  # answers of the semantic cache with true ones: `same`, `different`
    false_hit_ratio: float | None = None  # of its hits, the worst of any model by these; None: nothing was compared


class OnDisk(Struct, frozen=True):
    """One table of the file."""

    entries: int
    bytes: int


class CacheReport(Struct, frozen=True):
    """Answers in memory, of all processes together; those on the disk; what each cache has saved."""

    entries: int
    bytes: int
    evicted: int
    disk_failures: int
    on_disk: dict[str, OnDisk]
    savings: dict[str, Savings]


class Purged(Struct, frozen=True):
    """Answers that are gone; one that lay in both places counts in both."""

    in_memory: int
    on_disk: int
