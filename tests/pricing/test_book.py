"""The price book knows what it knows exactly, and its arithmetic is that of integers."""

from __future__ import annotations

import json
from fractions import Fraction
from importlib import resources
from pathlib import Path

import pytest

from pricing.book import (
    FOUND_MAX,
    PriceBook,
    cost_usd_nanos,
    load,
)
from pricing.rates import price_id
from proxy.types import Usage


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return load()


def small(*entries: tuple[list[str], list[dict[str, object]]], **others: object) -> bytes:
    models = [{"names": names, "prices": prices} for names, prices in entries]
    about = {"date": "2026-11-22", "source": "a test", "unit": "", "licence": ""}
    providers = {"maker": {"models": models}, "seller": {"models": [], "fallback": ["maker"]}, **others}
    return json.dumps({"about": about, "providers": providers}).encode()


def flat(input_uncached: int, output: int = 1, **more: object) -> dict[str, object]:
    return {"input_uncached": input_uncached, "output": output, **more}


def input_of(book: PriceBook, model: str, provider: str = "maker", tier: str = "standard") -> int | None:
    price = book.find(provider, model, tier)
    return None if price is None else price.input_uncached


# --- the shipped book -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "model", "usd_per_mtok"),  # input, cached, output
    [
        ("openai", "gpt-4o", ("2.5", "1.25", "10")),
        ("openai", "gpt-4o-2024-08-06", ("2.5", "1.25", "10")),
        ("openai", "gpt-4o-2024-05-13", ("5", "5", "15")),
        ("openai", "gpt-4o-mini", ("0.15", "0.075", "0.6")),
        ("openai", "gpt-4.1-2025-04-14", ("2", "0.5", "8")),
        ("openai", "o1-pro", ("150", "150", "600")),
        ("openai", "gpt-6-sol-2026-09-22", ("2", "0.2", "10")),
        ("openai", "text-embedding-3-small", ("0.02", "0.02", "0")),
        ("azure", "gpt-4o-2024-11-20", ("2.5", "1.25", "10")),
        ("anthropic", "claude-sonnet-4-5-20250929", ("3", "0.3", "15")),
        ("anthropic", "claude-3-haiku-20240307", ("0.25", "0.03", "1.25")),
        ("bedrock", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", ("3.3", "0.33", "16.5")),
        ("bedrock", "global.anthropic.claude-sonnet-4-5-20250929-v1:0", ("3", "0.3", "15")),
        ("google", "gemini-2.5-pro", ("1.25", "0.125", "10")),
        ("vertex", "claude-sonnet-4-5@20250929", ("3", "0.3", "15")),
        ("xai", "grok-4.5", ("2", "0.3", "6")),
        ("groq", "llama-3.3-70b-versatile", ("0.59", "0.59", "0.79")),
        ("openrouter", "openai/gpt-4o", ("2.5", "1.25", "10")),
    ],
)
def test_well_known_models_cost_what_their_makers_say(
    book: PriceBook, provider: str, model: str, usd_per_mtok: tuple[str, str, str]
) -> None:
    price = book.find(provider, model)
    assert price is not None
    figures = (price.input_uncached, price.input_cached, price.output)
    assert figures == tuple(Fraction(text) * 10**6 for text in usd_per_mtok)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o-2099-01-01"),  # a snapshot nobody has priced may cost anything
        ("openai", "gpt-4o-something"),
        ("openai", ""),
        ("openai", "whisper-1"),  # by the second of sound
        ("google", "gemini-2.5-pro-exp-tts"),
        ("aws", "eu.amazon.nova-lite-v1:0"),  # dearer than the same name without its region
        ("openrouter", "deepseek/deepseek-r1:free"),
        ("nobody", "gpt-4o"),
    ],
)
def test_an_unknown_model_has_no_price(book: PriceBook, provider: str, model: str) -> None:
    assert book.find(provider, model) is None


def test_claudes_cache_writes_and_long_context_are_priced(book: PriceBook) -> None:
    price = book.find("anthropic", "claude-sonnet-4-5")
    assert price is not None
    assert (price.input_cache_write_5m, price.input_cache_write_1h) == (3_750_000, 6_000_000)
    assert price.long_context_above == 200_000
    assert price.long_context is not None
    assert (price.long_context.input_uncached, price.long_context.output) == (6_000_000, 22_500_000)


def test_a_fee_for_each_call_is_part_of_the_price(book: PriceBook) -> None:
    price = book.find("perplexity", "sonar")
    assert price is not None
    assert cost_usd_nanos(Usage(input_uncached=1), price) == 12_001_000


def test_service_tiers_have_prices_of_their_own(book: PriceBook) -> None:
    tiers = {tier: input_of(book, "gpt-4o", "openai", tier) for tier in ("standard", "priority", "batch", "gold")}
    assert tiers == {"standard": 2_500_000, "priority": 4_250_000, "batch": 1_250_000, "gold": None}


def test_no_shipped_price_is_zero_or_negative_or_ill_named() -> None:
    shipped = json.loads(resources.files("pricing").joinpath("prices.json").read_text())
    shipped_book = load(day="2099-01-01")
    for provider, supplier in shipped["providers"].items():
        for entry in supplier["models"]:
            for name in entry["names"]:
                assert name == name.lower()
                assert "*" not in name[1:-1]
                assert name.strip("*")
            exact = next((name for name in entry["names"] if not set(name) & set("*#")), None)
            price = shipped_book.find(provider, exact) if exact else None
            if price is None:
                continue
            assert price.input_uncached > 0
            assert price.output > 0 or any(word in exact for word in ("embed", "bge", "gte", "voyage", "rerank"))
            assert price.id == price_id(price)


def test_the_book_says_where_it_comes_from(book: PriceBook) -> None:
    assert book.about.source.startswith("genai-prices ")
    assert "MIT License" in book.about.licence
    assert book.about.date in repr(book)


# --- names and layers -------------------------------------------------------------------------------------------


def test_exact_names_beat_snapshots_and_snapshots_beat_the_longest_pattern() -> None:
    book = load(
        small(
            (["m*"], [flat(1)]),
            (["m-two*"], [flat(2)]),
            (["m-two-########", "m-two-####-##-##"], [flat(3)]),
            (["m-two-20260101"], [flat(4)]),
            (["*inner*"], [flat(5)]),
            (["*-tail"], [flat(6)]),
        )
    )
    wanted = {
        "m": 1,
        "M-ONE": 1,
        "m-two-x": 2,
        "m-two-20261122": 3,
        "m-two-2026-11-22": 3,
        "m-two-20260101": 4,
        "m-two-2026112": 2,
        "an-inner-one": 5,
        "x-tail": 6,
        "x-tail-x": None,
        "x": None,
    }
    assert {model: input_of(book, model) for model in wanted} == wanted


def test_a_reseller_falls_back_on_the_maker() -> None:
    own = {"models": [{"names": ["b"], "prices": [flat(7)]}], "fallback": ["maker"]}
    book = load(small((["a"], [flat(1)]), (["b"], [flat(2)]), other=own))
    assert [input_of(book, model, "other") for model in "abc"] == [1, 7, None]
    assert input_of(book, "b", "seller") == 2
    changed, _ = book.with_overrides({"maker/b": {"input_usd_per_mtok": "9", "output_usd_per_mtok": "9"}})
    assert input_of(changed, "b", "other") == 7  # the maker's discount is not the reseller's


def test_the_last_layer_wins_and_the_first_stays_as_it_was() -> None:
    shipped = load(small((["a"], [flat(1)]), (["b"], [flat(2)]), (["c"], [flat(3)])))
    entry = {"litellm_provider": "maker", "input_cost_per_token": 4e-06, "output_cost_per_token": 1e-06}
    tabled, _ = shipped.with_table(json.dumps({"b": entry, "c": entry, "d": entry}).encode())
    final, warnings = tabled.with_overrides({"maker/c": {"input_usd_per_mtok": "5", "output_usd_per_mtok": "1"}})
    assert [input_of(final, model) for model in "abcde"] == [1, 4_000_000, 5_000_000, 4_000_000, None]
    assert [input_of(shipped, model) for model in "abcd"] == [1, 2, 3, None]
    assert warnings == ()


def test_an_override_may_cover_many_names() -> None:
    fields = {"input_usd_per_mtok": "3", "output_usd_per_mtok": "1"}
    book, _ = load(small()).with_overrides({"gpu-a/*": fields, "openai/ft:gpt-4o*": fields})
    assert input_of(book, "anything", "gpu-a") == 3_000_000
    assert input_of(book, "ft:gpt-4o:me", "openai") == 3_000_000


def test_odd_overrides_come_back_as_warnings(book: PriceBook) -> None:
    fields = {"input_usd_per_mtok": "0.0000025", "output_usd_per_mtok": "10"}
    _, [warning] = book.with_overrides({"openai/mine": fields})
    assert "for one token" in warning


def test_a_price_that_begins_later_waits_for_its_day() -> None:
    prices = [flat(1), flat(5, tier="batch"), flat(3, valid_from="2027-01-01"), flat(2, valid_from="2026-12-01")]
    data = small((["a"], prices))
    found = [input_of(load(data, day=day), "a") for day in (None, "2026-11-30", "2026-12-01", "2027-05-05")]
    assert found == [1, 1, 2, 3]
    assert input_of(load(data, day="2027-05-05"), "a", tier="batch") == 5


def test_what_was_asked_before_is_remembered_within_bounds() -> None:
    book = load(small((["a*"], [flat(1)])))
    assert book.find("maker", "a") is book.find("maker", "a")
    for number in range(FOUND_MAX + 10):
        book.find("maker", f"a{number}")
    assert len(book._found) <= FOUND_MAX
    assert input_of(book, "a") == 1


def test_a_book_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_bytes(small((["a"], [flat(1)])))
    assert input_of(load(path), "a") == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        small((["a"], [flat(1, zebra=2)])),
        small((["a"], [{"input_uncached": 1}])),
        small((["a"], [flat(1.5)])),  # type: ignore[arg-type]  # a float is what it must refuse
    ],
)
def test_a_broken_book_does_not_load(data: bytes) -> None:
    with pytest.raises(ValueError, match="price book: "):
        load(data)
