"""Where the nearest of many vectors are found. Loaded by name, where a configuration asks for it: it needs numpy.

Vectors are made to have length 1, so what is found are cosines. Few are all multiplied with; of more than two thousand
a sketch is kept as well, of 64 numbers by a random projection (Johnson and Lindenstrauss, 1984), and only those whose
sketch is near are. One thread does it: BLAS would take every core for a millisecond of work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Near = list[tuple[int, float]]

BEGIN_WITH: Final = 64
SKETCHED_ABOVE: Final = 2_000
SKETCH: Final = 64  # numbers; what is at a cosine of 0.85 then looks as if it were at 0.85 +- 0.035
LOOKS_NEAR: Final = 0.6
LOOKED_AT: Final = 256
TINY: Final = 1e-12


def unit(numbers: Sequence[float]) -> Vector | None:
    """Of length 1; None: it has none, or holds what is no number."""
    vector = np.asarray(numbers, np.float32)
    length = float(np.linalg.norm(vector)) if vector.ndim == 1 and vector.size else 0.0
    return vector / np.float32(length) if 0.0 < length < float("inf") else None


class Vectors:
    """Of one scope, each by a number that `add` gives it. All have as many numbers as the first."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self._rows: Vector = np.zeros((BEGIN_WITH, dimensions), np.float32)
        self._sketches: Vector | None = None
        self._projection: Vector | None = None
        self._used = 0
        self._free: list[int] = []

    def __repr__(self) -> str:
        return f"Vectors({len(self)} of {self.dimensions} numbers)"

    def __len__(self) -> int:
        return self._used - len(self._free)

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self._rows.nbytes) + (0 if self._sketches is None else int(self._sketches.nbytes))

    def row(self, at: int) -> Vector:
        row: Vector = self._rows[at]
        return row

    def add(self, vector: Vector) -> int:
        if self._free:
            at = self._free.pop()
        else:
            at = self._used
            self._used += 1
            self._make_room()
        self._rows[at] = vector
        if self._sketches is not None:
            self._sketches[at] = self._sketch(vector)
        return at

    def remove(self, at: int) -> None:
        self._rows[at] = 0.0  # at a cosine of 0 to everything, so never near
        if self._sketches is not None:
            self._sketches[at] = 0.0
        self._free.append(at)

    def near(self, vector: Vector, count: int) -> Near:
        """The nearest first."""
        if self._sketches is None:
            return _best(np.arange(self._used), np.einsum("ij,j->i", self._rows[: self._used], vector), count)
        looks = np.einsum("ij,j->i", self._sketches[: self._used], self._sketch(vector))
        chosen = np.flatnonzero(looks > LOOKS_NEAR)
        if len(chosen) > LOOKED_AT:
            chosen = chosen[np.argpartition(looks[chosen], -LOOKED_AT)[-LOOKED_AT:]]
        return _best(chosen, self._rows[chosen] @ vector, count)

    def _make_room(self) -> None:
        if self._used > len(self._rows):
            self._rows = np.vstack([self._rows, np.zeros_like(self._rows)])
            if self._sketches is not None:
                self._sketches = np.vstack([self._sketches, np.zeros_like(self._sketches)])
        if self._sketches is None and self._used > SKETCHED_ABOVE and self.dimensions > SKETCH:
            chance = np.random.default_rng(0)  # the same in every process, so that all find the same
            self._projection = chance.standard_normal((self.dimensions, SKETCH)).astype(np.float32)
            self._sketches = np.zeros((len(self._rows), SKETCH), np.float32)
            for at in range(self._used - 1):
                self._sketches[at] = self._sketch(self._rows[at])

    def _sketch(self, vector: Vector) -> Vector:
        assert self._projection is not None  # made with the first sketch
        sketch: Vector = vector @ self._projection
        return sketch / np.float32(max(float(np.linalg.norm(sketch)), TINY))


def _best(at: NDArray[np.intp], cosines: Vector, count: int) -> Near:
    count = min(count, len(at))
    if not count:
        return []
    best = np.argpartition(cosines, -count)[-count:]
    best = best[np.argsort(cosines[best])[::-1]]
    return [(int(at[each]), float(cosines[each])) for each in best]
