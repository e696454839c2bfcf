"""Where each run was served last: a table of fixed size in memory that several processes may share.

A home is one slot of 32 bytes, found by the run's key within a few slots; where these are taken the oldest gives way.
Nobody locks: each process writes whole slots into the same mapped memory, a slot that two have written at once fails
its check and is taken for empty, and all that is lost then is one guess. Instants are of the machine's clock, which all
of its processes share.
"""

from __future__ import annotations

from struct import Struct as Layout
from typing import Final

from msgspec import Struct

TTL_S: Final = 3_600.0
SLOTS: Final = 65_536
PROBED: Final = 4
_SLOT: Final = Layout("<QQdII")  # key, target, at, tokens, check
BYTES: Final = SLOTS * _SLOT.size
_TOKENS_MAX: Final = 2**32 - 1
_ODD: Final = 0x9E3779B97F4A7C15  # the golden ratio's bits; so that a slot of zeros fails its check too


class Home(Struct, frozen=True):
    """`target` as it was written; `tokens` of the prompt sent there last."""

    target: int
    tokens: int


class Homes:
    """`memory`: a multiple of 32 bytes, zeros at first; shared by those who should know of each other's runs."""

    def __init__(self, memory: bytearray | memoryview | None = None) -> None:
        self._memory = bytearray(BYTES) if memory is None else memory
        self._slots = len(self._memory) // _SLOT.size

    def __repr__(self) -> str:
        return f"Homes({self._slots} slots)"

    def find(self, key: int, now: float) -> Home | None:
        """None: the run was not seen within the last hour."""
        for offset in self._offsets(key):
            found, target, at, tokens, check = _SLOT.unpack_from(self._memory, offset)
            if found == key and check == _check(key, target, tokens) and now - TTL_S < at <= now:
                return Home(target, tokens)
        return None

    def move(self, key: int, home: Home, now: float) -> None:
        """The run is served at `home` from now on."""
        tokens = min(home.tokens, _TOKENS_MAX)
        check = _check(key, home.target, tokens)
        _SLOT.pack_into(self._memory, self._place(key, now), key, home.target, now, tokens, check)

    def _place(self, key: int, now: float) -> int:
        """The run's own slot, else the one unused for longest; one from the future is of an earlier start."""
        oldest, oldest_at = -1, 0.0
        for offset in self._offsets(key):
            found, _, at, _, _ = _SLOT.unpack_from(self._memory, offset)
            if found == key:
                return offset
            at = at if at <= now else 0.0
            if oldest < 0 or at < oldest_at:
                oldest, oldest_at = offset, at
        return oldest

    def _offsets(self, key: int) -> list[int]:
        slots, size = self._slots, _SLOT.size
        return [(key + step) % slots * size for step in range(min(PROBED, slots))]


def _check(key: int, target: int, tokens: int) -> int:
    return (key ^ target ^ tokens ^ _ODD) * _ODD >> 32 & 0xFFFFFFFF
