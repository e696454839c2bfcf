"""How much of known answers may be kept, how much there is, and what is to go. Values only."""

from __future__ import annotations

from msgspec import Struct

from proxy.caching.tables import TABLES, Standing, Table

Tables = dict[Table, Standing]


class Bounds(Struct, frozen=True):
    """Bytes and seconds."""

    memory: int = 256 * 1024 * 1024
    entry: int = 1024 * 1024  # of one reply, in the exact cache
    disk: int = 1024 * 1024 * 1024  # for the exact cache
    replay: int = 1024 * 1024 * 1024
    replay_s: float = 86_400.0


class Stock(Struct, frozen=True):
    """What one process keeps, and what is on the disk they share."""

    entries: int = 0
    bytes: int = 0
    evicted: int = 0
    failed: int = 0  # times that the disk did not do what it was asked
    on_disk: Tables = {}

    def plus(self, other: Stock, *, shared: bool) -> Stock:
        """Of several processes. `shared`: they keep one file, else each has its own."""
        return Stock(
            self.entries + other.entries,
            self.bytes + other.bytes,
            self.evicted + other.evicted,
            self.failed + other.failed,
            {table: _sum(table, self.on_disk, other.on_disk, shared) for table in TABLES},
        )


class Purge(Struct, frozen=True, forbid_unknown_fields=True):
    """Replies that are to go: those that all of it is true of. `key` is the entry's, in hex."""

    agent: str | None = None
    model: str | None = None
    key: str | None = None


class Gone(Struct, frozen=True):
    """How many a purge has removed."""

    in_memory: int = 0
    on_disk: int = 0

    def plus(self, other: Gone) -> Gone:
        return Gone(self.in_memory + other.in_memory, self.on_disk + other.on_disk)


def _sum(table: Table, one: Tables, other: Tables, shared: bool) -> Standing:
    these, those = one.get(table, Standing()), other.get(table, Standing())
    if shared:
        return these if these.entries else those
    return Standing(these.entries + those.entries, these.size + those.size)
