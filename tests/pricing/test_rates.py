"""Text becomes exact integers, what is left out becomes the dearest plausible figure, and content names a price."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.rates import CLASSES, Rates, picos_of, price_id, price_of, provider_name, usd_per_mtok, with_claude_writes

MTOK = 10**6


@pytest.mark.parametrize(
    ("text", "per", "picos"),
    [
        ("1", MTOK, 1_000_000),
        ("2.50", MTOK, 2_500_000),
        ("0.0125", MTOK, 12_500),  # 12.5 nano-dollars for a thousand tokens: exact
        ("0.3", MTOK, 300_000),  # a float would be 0.299999...
        ("1.1", MTOK, 1_100_000),
        ("1.25e-08", 1, 12_500),
        ("1E-6", 1, 1_000_000),
        ("0.012", 1, 12_000_000_000),
        ("0", MTOK, 0),
        ("0.0000001", MTOK, 1),  # finer than a pico-dollar: up
    ],
)
def test_decimal_text_becomes_an_exact_integer(text: str, per: int, picos: int) -> None:
    assert picos_of(text, per) == picos


@pytest.mark.parametrize(
    "text", ["", "-1", "1/3", "nan", "inf", "1e999999999", "1_000", "0x10", ".5", "1,5", " 1", "²"]
)
def test_what_is_not_an_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        picos_of(text, MTOK)


@given(st.integers(0, 10**9), st.text("0123456789", max_size=12))
def test_an_amount_is_never_below_its_exact_value_and_never_a_pico_above(whole: int, decimals: str) -> None:
    text = f"{whole}.{decimals}" if decimals else str(whole)
    assert 0 <= picos_of(text, MTOK) - Fraction(text) * MTOK < 1


@given(st.integers(0, 10**15))
def test_a_price_shown_to_people_reads_back_as_itself(picos: int) -> None:
    assert picos_of(usd_per_mtok(picos), MTOK) == picos


def test_a_missing_class_takes_the_dearest_figure_of_its_kind() -> None:
    price = price_of(Rates(input_uncached=100, output=400, input_cache_write_5m=125))
    assert {name: getattr(price, name) for name in CLASSES} == {
        "input_uncached": 100,
        "input_cached": 100,
        "input_cache_write_5m": 125,
        "input_cache_write_1h": 125,
        "input_audio": 100,
        "input_image": 100,
        "output": 400,
        "reasoning": 400,
        "output_audio": 400,
    }
    assert price_of(Rates(input_uncached=100, output=400, input_cached=0)).input_cached == 0


def test_the_id_is_the_content() -> None:
    rates = Rates(input_uncached=100, output=400, long_context_above=10, long_context=Rates(input_uncached=2, output=3))
    price = price_of(rates)
    assert price.id == price_id(price) == price_of(rates).id
    assert len(price.id) == 16
    assert int(price.id, 16) >= 0


@pytest.mark.parametrize("name", [*CLASSES, "per_call", "long_context_above"])
def test_every_figure_changes_the_id(name: str) -> None:
    figures = {"input_uncached": 100, "output": 400, "long_context_above": 10}
    long = Rates(input_uncached=2, output=3)
    other = {**figures, name: 77}
    assert price_of(Rates(**figures, long_context=long)).id != price_of(Rates(**other, long_context=long)).id


def test_the_long_context_price_is_part_of_the_id() -> None:
    one, two = (
        price_of(
            Rates(input_uncached=1, output=1, long_context_above=5, long_context=Rates(input_uncached=n, output=9))
        )
        for n in (2, 3)
    )
    assert one.id != two.id


def test_claude_writes_cost_five_quarters_and_twice_the_input() -> None:
    long = Rates(input_uncached=6_000_000, output=1)
    rates = Rates(input_uncached=3_000_000, output=1, long_context_above=200_000, long_context=long)
    price = price_of(with_claude_writes("eu.anthropic.claude-x", rates))
    assert (price.input_cache_write_5m, price.input_cache_write_1h) == (3_750_000, 6_000_000)
    assert price.long_context is not None
    assert (price.long_context.input_cache_write_5m, price.long_context.input_cache_write_1h) == (7_500_000, 12_000_000)
    assert with_claude_writes("gpt-4o", rates) is rates


def test_a_write_price_that_is_given_stands() -> None:
    rates = with_claude_writes("claude", Rates(input_uncached=100, output=1, input_cache_write_5m=111))
    assert (rates.input_cache_write_5m, rates.input_cache_write_1h) == (111, 200)


@pytest.mark.parametrize(("name", "own"), [("XAI", "x-ai"), ("bedrock", "aws"), ("OpenAI", "openai"), ("mine", "mine")])
def test_a_provider_is_known_by_its_usual_names(name: str, own: str) -> None:
    assert provider_name(name) == own
