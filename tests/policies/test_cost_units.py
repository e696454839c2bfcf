"""Cost units: input as it is, cached input for a tenth, output by what it costs more."""

from __future__ import annotations

import pytest
from msgspec import structs

from policies import cost_units
from proxy.types import Price, Usage
from tests.build import PRICE


@pytest.mark.parametrize(
    ("price", "weight"),
    [
        (None, 5.0),
        (PRICE, 2.0),
        (structs.replace(PRICE, output=8_000_000), 8.0),
        (structs.replace(PRICE, output=0), 0.0),
        (structs.replace(PRICE, input_uncached=0, output=0), 5.0),
    ],
)
def test_output_weighs_what_the_target_asks_for_it(price: Price | None, weight: float) -> None:
    assert cost_units.output_weight(price) == weight


@pytest.mark.parametrize(
    ("input_tokens", "all_tokens", "units"), [(100, 300, 1_100.0), (100, 0, 100.0), (0, 0, 1.0), (100, 50, 100.0)]
)
def test_what_a_call_is_expected_to_take(input_tokens: int, all_tokens: int, units: float) -> None:
    assert cost_units.expected(input_tokens, all_tokens, 5.0) == units


@pytest.mark.parametrize(
    ("usage", "units"),
    [
        (Usage(input_uncached=100, output=20), 200.0),
        (Usage(input_cached=1_000, output=20), 200.0),
        (Usage(input_cache_write_5m=100, reasoning=20), 200.0),
        (Usage(), 1.0),
    ],
)
def test_what_a_call_has_taken(usage: Usage, units: float) -> None:
    assert cost_units.used(usage, 5.0) == pytest.approx(units)
