"""What a call, a hold and a bill come to at a price: integers, exact, rounded up once."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.book import cost_usd_nanos, explain, hold_usd_nanos, price_at
from pricing.rates import CLASSES, Rates, price_of
from proxy.types import Price, Usage

FLAT = price_of(Rates(input_uncached=2_500_000, output=10_000_000, input_cached=12_500, per_call=0))
TIERED = price_of(
    Rates(
        input_uncached=1_250_000,
        output=10_000_000,
        per_call=7,
        long_context_above=200_000,
        long_context=Rates(
            input_uncached=2_500_000,
            output=15_000_000,
            per_call=7,
            long_context_above=1_000_000,
            long_context=Rates(input_uncached=9_000_000, output=9_000_000),
        ),
    )
)


@pytest.mark.parametrize(
    ("usage", "price", "nanos"),
    [
        (Usage(), FLAT, 0),
        (Usage(input_uncached=1), FLAT, 2_500),
        (Usage(input_cached=1), FLAT, 13),  # 12.5 nano-dollars: up, once
        (Usage(input_cached=2), FLAT, 25),
        (Usage(input_uncached=1000, input_cached=500, output=300, reasoning=20), FLAT, 5_706_250),
        (Usage(input_uncached=200_000), TIERED, 250_000_001),
        (Usage(input_uncached=200_001), TIERED, 500_002_501),  # above the threshold the whole call is dearer
        (Usage(input_uncached=1, input_cached=200_000, output=1), TIERED, 500_002_501 + 15_000),
        (Usage(input_uncached=1_000_001), TIERED, 9_000_009_000),
    ],
)
def test_costs(usage: Usage, price: Price, nanos: int) -> None:
    assert cost_usd_nanos(usage, price) == nanos


def figures(top: int) -> st.SearchStrategy[int]:
    return st.integers(0, top)


usages = st.builds(Usage, **{name: figures(2_000_000) for name in CLASSES})
flats = st.builds(Rates, **{name: figures(10**9) for name in CLASSES}, per_call=figures(10**11))
levels = st.builds(
    Rates,
    **{name: figures(10**9) for name in CLASSES},
    per_call=figures(10**11),
    long_context_above=figures(5_000_000),
    long_context=flats,
)
prices = st.one_of(flats, levels).map(price_of)


def model_of(usage: Usage, price: Price) -> Fraction:
    """The same sum in fractions of a nano-dollar, written without the code under test."""
    if price.long_context is not None and usage.input_total > (price.long_context_above or 0):
        price = price.long_context
    total = sum((Fraction(getattr(usage, name)) * getattr(price, name) for name in CLASSES), Fraction(price.per_call))
    return total / 1000


@given(usages, prices)
def test_a_cost_is_the_exact_sum_rounded_up_once(usage: Usage, price: Price) -> None:
    cost = cost_usd_nanos(usage, price)
    assert type(cost) is int
    assert 0 <= cost - model_of(usage, price) < 1


@given(usages, flats.map(price_of), st.sampled_from(CLASSES), st.integers(1, 10**6))
def test_more_tokens_never_cost_less(usage: Usage, price: Price, name: str, more: int) -> None:
    larger = Usage(**{other: getattr(usage, other) + (more if other == name else 0) for other in CLASSES})
    assert cost_usd_nanos(larger, price) >= cost_usd_nanos(usage, price)


@given(usages, flats)
def test_classes_add_up_before_rounding(usage: Usage, rates: Rates) -> None:
    price = price_of(rates)
    scaled = Usage(**{name: getattr(usage, name) * 1000 for name in CLASSES})
    alone = [cost_usd_nanos(Usage(**{name: getattr(scaled, name)}), price) for name in CLASSES]
    fee = cost_usd_nanos(Usage(), price)
    exact = sum(getattr(scaled, name) * getattr(price, name) for name in CLASSES) // 1000
    assert sum(cost - Fraction(price.per_call, 1000) for cost in alone) - exact < len(CLASSES)
    assert fee <= cost_usd_nanos(scaled, price) <= exact + fee


@given(usages, prices)
def test_the_explanation_adds_up_to_the_cost(usage: Usage, price: Price) -> None:
    bill = explain(usage, price)
    assert bill.usd_nanos == cost_usd_nanos(usage, price)
    assert -(-sum(line.usd_picos for line in bill.lines) // 1000) == bill.usd_nanos
    assert all(line.usd_picos == line.count * line.usd_picos_each and line.count for line in bill.lines)
    assert bill.long_context == (price_at(price, usage.input_total) is not price)


def test_an_explanation_names_what_was_charged() -> None:
    bill = explain(Usage(input_uncached=200_001, output=2), TIERED)
    lines = [(line.name, line.count, line.usd_picos_each) for line in bill.lines]
    assert lines == [("input_uncached", 200_001, 2_500_000), ("output", 2, 15_000_000), ("call", 1, 7)]
    assert bill.long_context


@given(prices, figures(6_000_000), figures(200_000), st.data())
def test_a_hold_covers_every_call_within_its_bounds(
    price: Price, inputs: int, outputs: int, data: st.DataObject
) -> None:
    plain = data.draw(figures(inputs))
    written = data.draw(figures(inputs - plain))
    text = data.draw(figures(outputs))
    thought = data.draw(figures(outputs - text))
    usage = Usage(
        input_uncached=plain,
        input_cache_write_5m=written,
        output=text,
        reasoning=thought,
        output_audio=outputs - text - thought,
    )
    assert hold_usd_nanos(price, inputs, outputs) >= cost_usd_nanos(usage, price)


def test_a_hold_knows_only_the_classes_that_may_occur() -> None:
    price = price_of(Rates(input_uncached=1_000, output=1_000, input_cache_write_5m=1_250, input_cache_write_1h=2_000))
    assert hold_usd_nanos(price, 100, 10) == 135
    assert hold_usd_nanos(price, 100, 10, may_occur=("input_uncached",)) == 110
    assert hold_usd_nanos(price, 100, 10, may_occur=("input_uncached", "input_cache_write_1h")) == 210


def test_a_hold_takes_the_long_context_price_only_within_reach() -> None:
    assert hold_usd_nanos(TIERED, 200_000, 0) == 250_000_001
    assert hold_usd_nanos(TIERED, 200_001, 0) == 500_002_501
    assert hold_usd_nanos(TIERED, 1_000_001, 1) == 9_000_018_000
