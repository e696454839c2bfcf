"""A map that keeps what was asked for last: a bound on everything that is learnt by a name a client may choose."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, ItemsView, Iterator, ValuesView
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Recent(Generic[_K, _V]):
    """At most `most` entries; the longest unused is forgotten first."""

    __slots__ = ("_kept", "_make", "_most")

    def __init__(self, most: int, make: Callable[[], _V]) -> None:
        self._kept: OrderedDict[_K, _V] = OrderedDict()
        self._most = most
        self._make = make

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[_K]:
        return iter(self._kept)

    def __repr__(self) -> str:
        return f"Recent({len(self._kept)} of {self._most})"

    def items(self) -> ItemsView[_K, _V]:
        return self._kept.items()

    def values(self) -> ValuesView[_V]:
        return self._kept.values()

    def forget(self, key: _K) -> None:
        self._kept.pop(key, None)

    def clear(self) -> None:
        self._kept.clear()

    def find(self, key: _K) -> _V | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def get(self, key: _K) -> _V:
        """What is kept under `key`; made where nothing is."""
        kept = self._kept
        found = kept.get(key)
        if found is not None:
            kept.move_to_end(key)
            return found
        found = kept[key] = self._make()
        if len(kept) > self._most:
            kept.popitem(last=False)
        return found
