from __future__ import annotations

import pytest

from policies.semantic import guard
from policies.semantic.confidence import Entry
from policies.semantic.nominate import LOOKED_AT, Nominee, nominee

ASKED = guard.read("what is the capital town of france")


class Known:
    def __init__(self, text: str = "what is the capital town of france please", answer: str = "Paris") -> None:
        self.labels = Entry()
        self.features = guard.read(text)
        self.answer = answer

    def answers_as(self, other: object) -> bool:
        return isinstance(other, Known) and other.answer == self.answer


LYON = Known(answer="Lyon")


@pytest.mark.parametrize(
    ("near", "said"),
    [
        ([], "nothing is near it"),
        ([(0.849, Known())], "nothing is near it"),
        ([(0.85, Known())], Nominee(0, 0.85)),
        ([(1.00001, Known())], Nominee(0, 1.0)),
        ([(0.95, Known()), (0.94, LYON)], "two different answers are near it"),
        ([(0.95, Known()), (0.949, Known()), (0.931, LYON)], "two different answers are near it"),
        ([(0.95, Known()), (0.92, LYON)], Nominee(0, 0.95)),
        ([(0.95, Known())] * LOOKED_AT, "more is near it than is looked at"),
        ([(0.95, Known("what is the capital town of spain 2"))], "the nearest question differs in numbers"),
    ],
)
def test_only_what_is_near_clear_and_equal_is_nominated(near: list[tuple[float, Known]], said: Nominee | str) -> None:
    assert nominee(ASKED, near) == said


def test_what_was_wrong_before_is_not() -> None:
    known = Known()
    known.labels.quarantined = True
    assert nominee(ASKED, [(0.99, known)]) == "the nearest answer was wrong before"
