"""Which blocks of prompts a target has in memory, as far as what was sent there tells: an LRU closed under prefixes.

An engine that runs out of memory gives away what was unused for longest, of one prompt its last blocks first; so does
this. Therefore the blocks of a prompt that are held are always its first ones, and a search halves. Every block bears
the number of the prompt that touched it last: touching is one bulk update, however long the prompt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

LISTED_MAX: Final = 4  # times the capacity: then what was touched again since is struck out of the older lists
LISTED_LEAST: Final = 1_024


class PrefixIndex:
    """`capacity` in blocks; it may be changed at any time, and holds from the next touch on."""

    __slots__ = ("_listed", "_number", "_touches", "capacity", "touched")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.touched: dict[int, int] = {}  # block -> number of its last touch; to be read only
        self._touches: deque[tuple[int, Sequence[int]]] = deque()  # number and blocks, the oldest first
        self._number = 0
        self._listed = 0  # blocks in `_touches`

    def __len__(self) -> int:
        return len(self.touched)

    def __contains__(self, block: int) -> bool:
        return block in self.touched

    def __repr__(self) -> str:
        return f"PrefixIndex({len(self)} of {self.capacity} blocks)"

    def matched(self, blocks: Sequence[int]) -> int:
        """How many of a prompt's first blocks are held."""
        touched = self.touched
        if blocks[0] not in touched:
            return 0
        low, high = 1, len(blocks)
        while low < high:
            middle = (low + high + 1) // 2
            if blocks[middle - 1] in touched:
                low = middle
            else:
                high = middle - 1
        return low

    def touch(self, blocks: Sequence[int]) -> None:
        """A prompt is read there."""
        self._number += 1
        self.touched.update(dict.fromkeys(blocks, self._number))
        self._touches.append((self._number, blocks))
        self._listed += len(blocks)
        if len(self.touched) > self.capacity:
            self._evict()
        if self._listed > max(LISTED_LEAST, LISTED_MAX * self.capacity):
            self._strike()

    def clear(self) -> None:
        self.touched.clear()
        self._touches.clear()
        self._listed = 0

    def _evict(self) -> None:
        touched = self.touched
        more = len(touched) - self.capacity
        while more > 0 and self._touches:
            number, blocks = self._touches.popleft()
            self._listed -= len(blocks)
            end = len(blocks)
            # Whoever touched one of them since has touched all those before it as well.
            while end and more and touched.get(blocks[end - 1]) == number:
                end -= 1
                more -= 1
                del touched[blocks[end]]
            if not more and end:
                self._touches.appendleft((number, blocks[:end]))
                self._listed += end

    def _strike(self) -> None:
        """Leaves every block in one list only."""
        own = [(number, blocks[self._first(number, blocks) :]) for number, blocks in self._touches]
        self._touches = deque([each for each in own if each[1]])
        self._listed = sum([len(blocks) for _, blocks in self._touches])

    def _first(self, number: int, blocks: Sequence[int]) -> int:
        """Where those begin that were not touched since."""
        touched, low, high = self.touched, 0, len(blocks)
        while low < high:
            middle = (low + high) // 2
            if touched.get(blocks[middle]) == number:
                high = middle
            else:
                low = middle + 1
        return low
