"""The nearest of very many vectors, fast and nearly always the right ones.

A graph that is walked (HNSW; Malkov and Yashunin, 2018), for scopes too large for `vectors`. Loaded by name, where the
package usearch is installed.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from usearch.index import Index


class Graph:
    """Has the face of `vectors.Vectors`."""

    def __init__(self, dimensions: int, rows: Iterable[tuple[int, NDArray[np.float32]]] = ()) -> None:
        """`rows`: what is in it at the beginning, by the numbers it was given."""
        self.dimensions = dimensions
        self._index = Index(ndim=dimensions, metric="cos", dtype="f32")
        self._next = 0
        for at, vector in rows:
            self._index.add(at, vector)
            self._next = max(self._next, at + 1)

    def __repr__(self) -> str:
        return f"Graph({len(self)} of {self.dimensions} numbers)"

    def __len__(self) -> int:
        return len(self._index)

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self._index.memory_usage)

    def add(self, vector: NDArray[np.float32]) -> int:
        at, self._next = self._next, self._next + 1
        self._index.add(at, vector)
        return at

    def remove(self, at: int) -> None:
        self._index.remove(at)

    def near(self, vector: NDArray[np.float32], count: int) -> list[tuple[int, float]]:
        """The nearest first."""
        if not len(self._index):
            return []
        found = self._index.search(vector, count)
        return [(int(key), 1.0 - float(distance)) for key, distance in zip(found.keys, found.distances, strict=True)]
