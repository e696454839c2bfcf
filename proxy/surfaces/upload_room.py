"""How many bytes of uploads one process has in memory at the same time: of all, and of one owner.

An upload takes its place by what it announces, before any of it is read, so that a slow one cannot be overtaken by a
thousand others; one that announces nothing takes as much as it may have. What does not fit is refused at once, for a
client can wait as well as the gate. A quarter of all is the most that one owner has: nobody shuts the others out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from proxy.errors import ProxyError

LARGEST: Final = 4  # of the largest uploads fit
AGAIN_S: Final = 2.0


class UploadRoom:
    def __init__(self) -> None:
        self._held: Counter[str] = Counter()  # bytes, by owner

    def __repr__(self) -> str:
        return f"UploadRoom({self._held.total()} bytes of {len(self._held)})"

    @contextmanager
    def held(self, owner: str, size: int, largest: int) -> Iterator[None]:
        """Bytes; `size` is at most `largest`. Raises ProxyError rate_limit_exceeded."""
        whose = "your" if self._held[owner] + size > largest else "all"
        if whose == "your" or self._held.total() + size > LARGEST * largest:
            what = f"No room is left for this upload beside {whose} others that come in: send it when they are in."
            self._clear(owner)
            raise ProxyError("rate_limit_exceeded", what, retry_after_s=AGAIN_S)
        self._held[owner] += size
        try:
            yield
        finally:
            self._held[owner] -= size
            self._clear(owner)

    def _clear(self, owner: str) -> None:
        if not self._held[owner]:
            del self._held[owner]
