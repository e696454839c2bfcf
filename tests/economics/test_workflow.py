"""The workflow's arithmetic, and few workflows on sockets."""

from __future__ import annotations

import pytest

from tests.economics.workflow import KNOWN, REFERENCE, WAYS, Way, lived, predicted, timetable


def test_the_reference_is_what_its_numbers_give() -> None:
    for way in WAYS:
        if way.name in REFERENCE:
            right, usd = predicted(way)
            success, quality = REFERENCE[way.name]
            assert right == pytest.approx(success, abs=0.005)
            assert right / usd == pytest.approx(quality, rel=0.01)


def test_of_all_steps_the_share_that_was_said_is_known() -> None:
    asked = [ask.messages for run in timetable(WAYS[5], 500) for ask in run]
    assert 1 - len(set(asked)) / len(asked) == pytest.approx(KNOWN, abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("way", [WAYS[2], WAYS[5], WAYS[6]], ids=lambda way: way.name)
async def test_few_workflows_cost_what_was_predicted(way: Way) -> None:
    seen = await lived(way, 100)
    right, usd = predicted(way)
    assert seen.ledger_apart == 0
    assert seen.right == pytest.approx(right, abs=0.08)
    assert seen.usd == pytest.approx(usd, rel=0.08)
