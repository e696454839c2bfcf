"""Which entry may answer: the nearest, if it is near, and clear of the next with another answer.

Near is a cosine of 0.85; the two texts must not differ in what `guard` looks at, and the entry must not have been wrong
before. Who may answer is not yet served: that is drawn by its `confidence`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct

from policies.semantic.confidence import LOWEST, Entry
from policies.semantic.guard import Features, differ

CLEAR: Final = 0.02  # of the next entry with another answer
LOOKED_AT: Final = 8  # nearest entries, of which the others with the same answer are passed over


class Known(Protocol):
    """What is looked at of an entry."""

    labels: Entry
    features: Features

    def answers_as(self, other: Known) -> bool: ...


class Nominee(Struct, frozen=True):
    at: int  # among those that were near
    similarity: float


def nominee(features: Features, near: Sequence[tuple[float, Known]]) -> Nominee | str:
    """`near`: similarities and entries, the nearest first. Or why none of them is it."""
    if not near or near[0][0] < LOWEST:
        return "nothing is near it"
    similarity, best = near[0]
    for other_similarity, other in near[1:]:
        if similarity - other_similarity >= CLEAR:
            break
        if not other.answers_as(best):
            return "two different answers are near it"
    else:
        if len(near) >= LOOKED_AT:
            return "more is near it than is looked at"
    difference = differ(features, best.features)
    if difference is not None:
        return f"the nearest question differs in {difference}"
    if best.labels.quarantined:
        return "the nearest answer was wrong before"
    return Nominee(0, min(1.0, similarity))
