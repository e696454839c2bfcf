"""One batch that is being worked on: which of its lines are done, which are asked, and which is next and when.

It decides and does nothing: who asks lines, and when, is `keeper`'s word. A refusal that every line would get holds the
whole batch back for as long as it says, twice as long each time until a line has got through (exponential backoff), so
that fifty thousand lines do not knock at a limit one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Final

from proxy.batches.lines import Later
from proxy.batches.objects import Batch
from proxy.batches.scanning import Scan

HELD_MAX_S: Final = 60.0


class Job:
    def __init__(self, batch: Batch, scan: Scan, done: Iterable[int]) -> None:
        """`done`: the places of lines that were done before."""
        self.batch = batch
        self.cancelled = False
        self.over = asyncio.Event()  # nothing of it is to be waited for
        self.flying: set[int] = set()
        self.total = len(scan.starts)
        self._scan = scan
        self._done = bytearray(self.total)
        self._left = self.total
        self._next = 0
        self._later: list[tuple[float, int]] = []  # when it may be asked again, and its place
        self._tries: dict[int, int] = {}
        self._held_until = 0.0
        self._held_s = 0.0
        for number in done:
            self._mark(number)

    def __repr__(self) -> str:
        return f"Job({self.batch.id}, {self._left} of {self.total} left, {len(self.flying)} asked)"

    @property
    def done(self) -> bool:
        return not self._left

    def place(self, number: int) -> tuple[int, int]:
        """Where a line stands in the file: its first byte, and how many."""
        return self._scan.starts[number], self._scan.sizes[number]

    def tries(self, number: int) -> int:
        return self._tries.get(number, 0)

    def take(self, now: float) -> int | None:
        """A line that is to be asked now; it counts as flying until `said` or `later`."""
        if self.cancelled or now < self._held_until:
            return None
        number = self._due(now)
        if number is not None:
            self.flying.add(number)
        return number

    def said(self, number: int) -> None:
        self.flying.discard(number)
        self._mark(number)
        self._tries.pop(number, None)
        self._held_s = 0.0

    def later(self, number: int, later: Later, now: float) -> None:
        self.flying.discard(number)
        heappush(self._later, (now + later.delay_s, number))
        if not later.waits:
            self._tries[number] = self.tries(number) + 1
        elif now >= self._held_until:
            self._held_s = min(max(later.delay_s, 2 * self._held_s), HELD_MAX_S)
            self._held_until = now + self._held_s

    def _due(self, now: float) -> int | None:
        """Those that were never asked come first: others that no upstream takes would stand before them for ever."""
        while self._next < self.total:
            number = self._next
            self._next += 1
            if not self._done[number]:
                return number
        return heappop(self._later)[1] if self._later and self._later[0][0] <= now else None

    def _mark(self, number: int) -> None:
        if number < self.total and not self._done[number]:
            self._done[number] = 1
            self._left -= 1
