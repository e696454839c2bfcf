"""What was made of a pool of targets, kept for the next call that may go to the same ones.

A configuration's steps are tuples that live as long as it does, so a pool is known again by being the same object;
to look at thirty-two targets anew costs more than to decide between them. Pools that a breaker has cut down are new
tuples: these are made anew, and the oldest give way.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from proxy.types import Target

POOLS_MAX: Final = 64

_V = TypeVar("_V")


class Pools(Generic[_V]):
    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[int, tuple[tuple[Target, ...], _V]] = {}  # by id, which stands as long as the tuple is held

    def __repr__(self) -> str:
        return f"Pools({len(self._kept)} of {POOLS_MAX})"

    def find(self, targets: tuple[Target, ...]) -> _V | None:
        kept = self._kept.get(id(targets))
        return None if kept is None else kept[1]

    def keep(self, targets: tuple[Target, ...], made: _V) -> _V:
        if len(self._kept) >= POOLS_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[id(targets)] = (targets, made)
        return made

    def clear(self) -> None:
        self._kept.clear()
