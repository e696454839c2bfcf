"""A small fleet costs what arithmetic says, way by way."""

from __future__ import annotations

import pytest

from tests.economics import fleet
from tests.economics.fleet import REFERENCE, WAYS, Way, lived, predicted


def test_the_reference_is_what_its_numbers_give() -> None:
    assert [round(REFERENCE[way.name]) for way in WAYS[:3]] == [127_800, 84_330, 25_596]
    assert [round(predicted(way)) for way in WAYS] == [127_800, 83_070, 24_336, 20_431, 18_871]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_a_tenth_of_the_fleet_costs_what_was_predicted(way: Way) -> None:
    seen = await lived(way, fleet.RUNS // 10)
    assert seen.useful == 1.0
    assert seen.ledger_apart == 0
    assert seen.usd_a_day == pytest.approx(predicted(way), rel=0.08), "few runs are drawn"
