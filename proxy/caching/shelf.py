"""The replies that are kept in memory: by bytes, those that were asked for last.

Entries are looked at when they are asked for, and not when they expire; what nobody asks for makes room for others.
"""

from __future__ import annotations

from cachetools import LRUCache

from proxy.caching.kept import Kept, belongs

Key = bytes


class Shelf:
    def __init__(self, bytes_max: int) -> None:
        self._kept: LRUCache[Key, Kept] = LRUCache(max(1, bytes_max), getsizeof=lambda kept: kept.size)
        self.evicted = 0

    def __repr__(self) -> str:
        return f"Shelf({len(self)} replies, {self.size} of {self._kept.maxsize:.0f} bytes)"

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        return int(self._kept.currsize)

    def resize(self, bytes_max: int) -> None:
        """What does not fit any more goes, the least used first."""
        if bytes_max == self._kept.maxsize:
            return
        before, self._kept = self._kept, LRUCache(max(1, bytes_max), getsizeof=lambda kept: kept.size)
        while before:  # ends: each turn takes one, the least used first
            self.put(*before.popitem())

    def get(self, key: Key) -> Kept | None:
        return self._kept.get(key)

    def put(self, key: Key, kept: Kept) -> bool:
        """False: it is larger than all there is room for."""
        before = len(self._kept) + (key not in self._kept)
        try:
            self._kept[key] = kept
        except ValueError:
            return False
        self.evicted += before - len(self._kept)
        return True

    def purge(self, agent: str | None, route: str | None, key: Key | None) -> int:
        """How many went: those that are all of it. None: any."""
        gone = [each for each, kept in self._kept.items() if key in (None, each) and belongs(kept, agent, route)]
        for each in gone:
            del self._kept[each]
        return len(gone)
