from __future__ import annotations

import pytest

from loadtests.replay.traces import found
from tests import loop
from tests.economics import votes


@pytest.mark.slow
def test_every_figure_of_the_votes_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(votes, "SIMULATED", 8_000)
    monkeypatch.setattr(votes, "CALLS", 120)
    rows = list(votes.rows(None))
    assert [row.figure for row in rows if row.reached is False] == []
    assert len([row for row in rows if row.reached]) == 5


def test_a_vote_is_taken_as_the_gate_takes_it() -> None:
    assert votes.taken(["a", "b", "a", "a", "b"], (5,), [1.0] * 5)[1] == 4
    assert votes.taken(["a", "b", "c", "c", "b"], (3, 5), [1.0] * 5)[1] == 5
    assert votes.taken(["a", "a", "b"], (3,), [1.0] * 3)[1] == 2


def test_the_gate_asks_as_many_as_the_policy() -> None:
    asked, right = loop.run(votes.through_the_gate(40))
    assert 3.0 <= asked <= 3.8
    assert right > 0.9


@pytest.mark.skipif(found() is None, reason="no traces")
def test_recorded_voters_say_what_is_known_of_them() -> None:
    folder = found()
    assert folder is not None
    if not (folder / votes.SOLUTIONS).exists():
        pytest.skip("no traces")
    problems = votes.read(folder)
    right = [sum(each.answers[at] == each.truth for each in problems) / len(problems) for at in range(4)]
    assert [round(100 * share, 1) for share in right] == [21.7, 39.0, 34.7, 56.3]
