from __future__ import annotations

import pytest

from loadtests.replay.traces import found
from tests.economics import maths


@pytest.mark.slow
def test_every_figure_is_reached() -> None:
    rows = list(maths.rows(found()))
    assert [row.figure for row in rows if row.reached is False] == []
    assert len([row for row in rows if row.reached]) >= 3


def test_without_traces_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maths, "SEEDS", 1)
    monkeypatch.setattr(maths, "QUESTIONS", 800)
    first, *rest = maths.rows(None)
    assert first.figure.startswith("traces not found: set HEADGATE_TRACES to the folder that holds gsm8k_")
    assert len(rest) == 13


def test_a_learnt_choice_is_told_of_its_own_answers_alone() -> None:
    easy = [maths.Graded("x", weak=True, strong=False)] * 400
    assert maths.worked(easy, 1, 0.5).dear < 0.2
    hard = [maths.Graded("x", weak=False, strong=True)] * 400
    assert maths.worked(hard, 1, 1.0).dear > 0.9


@pytest.mark.skipif(found() is None, reason="no traces")
def test_the_systems_are_as_good_as_is_known_of_them() -> None:
    folder = found()
    assert folder is not None
    if not (folder / maths.FOUR).exists():
        pytest.skip("no traces")
    items = maths.four_systems(folder)
    right = [sum([item.right[at] for item in items]) / len(items) for at in range(4)]
    assert [round(100 * share, 1) for share in right] == [21.7, 39.0, 34.7, 56.3]
    models = maths.two_models(folder)
    assert round(100 * sum([row.weak for row in models]) / len(models), 1) == 63.8
