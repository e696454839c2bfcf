"""A source's prices become records: whole, exact, plausible, or refused with the reason."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace as Of
from typing import Any

import pytest

from pricing.generate_rates import Refused, records
from pricing.rates import Rates

TODAY = "2026-11-22"


def starting(day: str) -> Of:
    return Of(start_date=Of(isoformat=lambda: day))


def tiered(base: str, **levels: str) -> Of:
    tiers = [Of(start=int(start.removeprefix("above_")), price=Decimal(price)) for start, price in levels.items()]
    return Of(base=Decimal(base), tiers=tiers)


def prices(**usd: str | Of) -> Of:
    return Of(**{key: Decimal(value) if isinstance(value, str) else value for key, value in usd.items()})


def model(standard: Any, *variants: Of, id: str = "m") -> Any:
    return Of(id=id, match=None, prices=standard, price_variants=list(variants))


def read(standard: Any, *variants: Of, id: str = "m") -> tuple[Rates, ...]:
    return records(f"maker/{id}", model(standard, *variants, id=id), TODAY)


def test_usd_per_million_becomes_picos_per_token() -> None:
    found = read(prices(input_mtok="2.5", cache_read_mtok="0.0125", output_mtok="10", web_searches_kcount="10"))
    assert found == (Rates(input_uncached=2_500_000, output=10_000_000, input_cached=12_500),)


def test_what_can_be_derived_is_not_written() -> None:
    same = prices(input_mtok="1", cache_read_mtok="1", cache_write_mtok="1", output_mtok="2", output_reasoning_mtok="2")
    assert read(same) == (Rates(input_uncached=1_000_000, output=2_000_000),)


def test_context_levels_become_whole_prices() -> None:
    levels = prices(input_mtok=tiered("1", above_32000="2", above_128000="3"), output_mtok="4", requests_kcount="12")
    [found] = read(levels)
    third = Rates(input_uncached=3_000_000, output=4_000_000, per_call=12 * 10**9)
    second = Rates(
        input_uncached=2_000_000, output=4_000_000, per_call=12 * 10**9, long_context_above=128_000, long_context=third
    )
    assert (found.input_uncached, found.long_context_above, found.long_context) == (1_000_000, 32_000, second)


def test_the_latest_price_that_has_begun_stands_and_later_ones_wait() -> None:
    history = [
        Of(constraint=None, prices=prices(input_mtok="1", output_mtok="1")),
        Of(constraint=starting("2026-05-01"), prices=prices(input_mtok="2", output_mtok="2")),
        Of(constraint=starting("2027-01-01"), prices=prices(input_mtok="3", output_mtok="3")),
    ]
    assert read(history) == (
        Rates(input_uncached=2_000_000, output=2_000_000),
        Rates(input_uncached=3_000_000, output=3_000_000, valid_from="2027-01-01"),
    )


def test_of_prices_by_the_hour_the_dearest_stands() -> None:
    hours = Of(start_time="00:30", end_time="16:30")
    history = [
        Of(constraint=None, prices=prices(input_mtok="9", output_mtok="9")),
        Of(constraint=starting("2026-05-01"), prices=prices(input_mtok="1", output_mtok="1")),
        Of(constraint=hours, prices=prices(input_mtok="2", output_mtok="2")),
    ]
    assert read(history)[0].input_uncached == 2_000_000
    assert read(history[::2])[0].input_uncached == 9_000_000


def test_service_tiers_are_whole_prices() -> None:
    standard = prices(input_mtok="2", cache_read_mtok="1", output_mtok="4")
    found = read(
        standard,
        Of(when={"service_tier": "default"}, prices=prices(), constraint=None),
        Of(when={"service_tier": "flex"}, prices=prices(), constraint=None),  # equal to the standard: not written
        Of(when={"service_tier": "priority"}, prices=prices(input_mtok="4"), constraint=starting("2026-10-01")),
        Of(when={"service_tier": "priority"}, prices=prices(input_mtok="5", output_mtok="8"), constraint=None),
        Of(when={"processing": "batch"}, prices=prices(input_mtok="1", output_mtok="2"), constraint=None),
        Of(when={"processing": "batch", "route": "eu"}, prices=prices(input_mtok="7"), constraint=None),
        Of(when={"search_type": "fast"}, prices=prices(input_mtok="8"), constraint=None),
    )
    assert found == (
        Rates(input_uncached=2_000_000, output=4_000_000, input_cached=1_000_000),
        Rates(input_uncached=4_000_000, output=8_000_000, input_cached=1_000_000, tier="priority"),
        Rates(input_uncached=1_000_000, output=2_000_000, tier="batch"),
    )


def test_a_tier_may_begin_later() -> None:
    later = Of(when={"processing": "batch"}, prices=prices(input_mtok="1"), constraint=starting("2027-02-01"))
    standard = Rates(input_uncached=2_000_000, output=4_000_000)
    batch = Rates(input_uncached=1_000_000, output=4_000_000, tier="batch", valid_from="2027-02-01")
    assert read(prices(input_mtok="2", output_mtok="4"), later) == (standard, batch)


def test_claude_pays_for_its_cache_writes() -> None:
    [found] = read(prices(input_mtok="3", output_mtok="15"), id="claude-x")
    assert (found.input_cache_write_5m, found.input_cache_write_1h) == (3_750_000, 6_000_000)


def test_a_write_below_input_is_a_fee_on_top(capsys: pytest.CaptureFixture[str]) -> None:
    [found] = read(prices(input_mtok="1", cache_write_mtok="0.0833333333333333", output_mtok="2"))
    assert found.input_cache_write_5m == 1_083_334
    assert "maker/m: cache write 0.083334 below input 1: taken on top of it" in capsys.readouterr().out


def test_output_that_no_report_tells_apart_takes_the_dearest_price() -> None:
    [found] = read(prices(input_mtok="2", output_mtok="12", output_image_mtok="120"))
    assert found.output == 120_000_000


def test_embeddings_need_no_price_for_output() -> None:
    assert read(prices(input_mtok="0.02"), id="text-embedding-3-small") == (Rates(input_uncached=20_000, output=0),)
    priced = prices(input_mtok="0.1", output_mtok="0.1")
    assert read(priced, id="mistral-embed") == (Rates(input_uncached=100_000, output=100_000),)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (prices(), "free"),
        (prices(input_mtok="0", output_mtok="0"), "free"),
        (prices(input_mtok="1"), "no price for output"),
        (prices(input_mtok="1", output_mtok="0"), "no price for output"),
        (prices(input_mtok="0", output_mtok="1"), "no price for input_uncached"),
        (prices(input_mtok="1", output_mtok="1", audio_hours="3"), "priced by audio_hours"),
        (prices(input_mtok="0.0000025", output_mtok="0.00001"), "is not plausible"),
        (prices(input_mtok="2500000", output_mtok="10000000"), "is not plausible"),
        (prices(input_mtok="0.1", output_mtok="6"), "output 6 is not plausible for input 0.1"),
        (prices(input_mtok="1", output_mtok="1", cache_read_mtok="2"), "a cache hit"),
    ],
)
def test_what_is_implausible_is_refused(found: Of, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        read(found)
