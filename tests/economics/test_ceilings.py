"""No ceiling is broken, and quality falls smoothly as they tighten."""

from __future__ import annotations

from statistics import mean

import pytest

from tests.economics import ceilings
from tests.economics.ceilings import STEPS, quality, workflow


@pytest.mark.slow
def test_every_figure_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "RUNS", 6)
    monkeypatch.setattr(ceilings, "RANDOM_RUNS", 10)
    monkeypatch.setattr(ceilings, "SHARES", (1.2, 0.8, 0.5, 0.3))
    rows = list(ceilings.rows(None))
    assert [row.figure for row in rows if row.reached is False] == []
    assert len([row for row in rows if row.reached]) == 1 + 2 * (4 + 2)


def test_each_revision_mends_less() -> None:
    gains = [quality(drafts + 1) - quality(drafts) for drafts in range(STEPS)]
    assert gains == sorted(gains, reverse=True)
    assert (quality(0), quality(1)) == (0.0, ceilings.FIRST)


def test_an_error_loses_what_the_best_answer_keeps() -> None:
    free = workflow(1)
    half = free.usd_nanos // 2
    assert workflow(1, usd_nanos=half, at_limit="error").quality == 0.0
    assert ceilings.FIRST <= workflow(1, usd_nanos=half).quality < free.quality
    assert mean([free.quality]) == quality(STEPS)
