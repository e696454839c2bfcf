"""User-supplied prices: exact, complete or refused, and odd ones never silently."""

from __future__ import annotations

import json
import re

import pytest

from pricing.rates import Rates, Row
from pricing.tables import read_overrides, read_table

FINETUNE = {"input_usd_per_mtok": "3", "output_usd_per_mtok": "12"}


def test_an_override_is_exact() -> None:
    fields = {**FINETUNE, "input_cached_usd_per_mtok": "0.0125", "call_usd": "0.005"}
    rows, warnings = read_overrides({"OpenAI/My-Finetune": fields})
    rates = Rates(input_uncached=3_000_000, output=12_000_000, input_cached=12_500, per_call=5_000_000_000)
    assert rows == (Row("openai", "my-finetune", rates),)
    assert warnings == ()


def test_a_name_may_hold_further_slashes() -> None:
    [row] = read_overrides({"openrouter/openai/gpt-4o": FINETUNE})[0]
    assert (row.provider, row.name) == ("openrouter", "openai/gpt-4o")


def test_an_override_may_have_a_long_context_tier() -> None:
    long = {
        "long_context_above_tokens": "200000",
        "long_context_input_usd_per_mtok": "6",
        "long_context_output_usd_per_mtok": "18",
    }
    [row] = read_overrides({"a/b": {**FINETUNE, **long, "call_usd": "1"}})[0]
    assert row.rates.long_context_above == 200_000
    assert row.rates.long_context == Rates(input_uncached=6_000_000, output=18_000_000, per_call=10**12)


def test_claude_overrides_pay_for_their_cache_writes() -> None:
    [row] = read_overrides({"anthropic/claude-mine": FINETUNE})[0]
    assert row.rates.input_cache_write_1h == 6_000_000


@pytest.mark.parametrize(
    ("key", "fields", "message"),
    [
        ("gpt-4o", FINETUNE, "provider/model"),
        ("openai/", FINETUNE, "provider/model"),
        ("a/b", {"input_usd_per_mtok": "3"}, "output_usd_per_mtok is missing"),
        ("a/b", {"output_usd_per_mtok": "3"}, "input_usd_per_mtok is missing"),
        ("a/b", {**FINETUNE, "output_usd_per_mtk": "1"}, "did you mean output_usd_per_mtok"),
        ("a/b", {**FINETUNE, "zebra": "1"}, "unknown key 'zebra'$"),
        ("a/b", {**FINETUNE, "input_cached_usd_per_mtok": "cheap"}, "not an amount"),
        ("a/b", {**FINETUNE, "long_context_input_usd_per_mtok": "1"}, "belong together"),
        ("a/b", {**FINETUNE, "long_context_above_tokens": "200000"}, "belong together"),
        (
            "a/b",
            {**FINETUNE, "long_context_above_tokens": "2e5", **{f"long_context_{k}": v for k, v in FINETUNE.items()}},
            "number of tokens",
        ),
    ],
)
def test_a_wrong_override_is_refused_by_name(key: str, fields: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_overrides({key: fields})


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ({**FINETUNE, "input_usd_per_mtok": "0.000003"}, "input_uncached is 0.000003 .* for one token"),
        ({**FINETUNE, "output_usd_per_mtok": "12000000"}, "output is 12000000 .* multiplied"),
        ({**FINETUNE, "input_cached_usd_per_mtok": "0"}, "input_cached is free of charge"),
        (
            {
                **FINETUNE,
                "long_context_above_tokens": "9",
                "long_context_input_usd_per_mtok": "0.000001",
                "long_context_output_usd_per_mtok": "1",
            },
            "long context: input_uncached",
        ),
    ],
)
def test_an_odd_override_is_taken_and_warned_about(fields: dict[str, str], warning: str) -> None:
    rows, warnings = read_overrides({"a/b": fields})
    assert len(rows) == 1
    [text] = warnings
    assert text.startswith("price override a/b: ")
    assert re.search(warning, text)


def table(**entries: dict[str, object]) -> bytes:
    return json.dumps(entries).encode()


GPT = {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05}


def test_a_table_of_per_token_prices_is_read_without_floats() -> None:
    data = (
        b'{"m": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 0.1e-06,'
        b' "output_cost_per_token": "0.0000003", "cache_read_input_token_cost": 1.25e-08,'
        b' "cache_creation_input_token_cost": null, "input_cost_per_audio_token": 0.0, "supports_vision": true}}'
    )
    rows, warnings = read_table(data)
    assert rows == (Row("openai", "m", Rates(input_uncached=100_000, output=300_000, input_cached=12_500)),)
    assert warnings == ()


@pytest.mark.parametrize(
    ("provider", "key", "row"),
    [
        ("gemini", "gemini/gemini-2.5-pro", ("google", "gemini-2.5-pro")),
        ("vertex_ai-language-models", "gemini-2.5-pro", ("google", "gemini-2.5-pro")),
        ("xai", "xai/grok-4", ("x-ai", "grok-4")),
        ("bedrock_converse", "us.amazon.nova-pro-v1:0", ("aws", "us.amazon.nova-pro-v1:0")),
        ("openrouter", "openrouter/openai/gpt-4o", ("openrouter", "openai/gpt-4o")),
        ("together_ai", "together_ai/Qwen/Qwen3", ("together", "qwen/qwen3")),
        ("groq", "openai/gpt-oss-20b", ("groq", "openai/gpt-oss-20b")),
    ],
)
def test_a_tables_names_become_the_books(provider: str, key: str, row: tuple[str, str]) -> None:
    [read] = read_table(table(**{key: {**GPT, "litellm_provider": provider}}))[0]
    assert (read.provider, read.name) == row


def test_context_levels_of_a_table_are_whole_prices() -> None:
    entry = {
        **GPT,
        "cache_read_input_token_cost": 1e-06,
        "input_cost_per_token_above_200k_tokens": 5e-06,
        "output_cost_per_token_above_200k_tokens": 2e-05,
        "input_cost_per_token_above_1000k_tokens": 9e-06,
    }
    [row] = read_table(table(m=entry))[0]
    third = Rates(input_uncached=9_000_000, output=20_000_000, input_cached=1_000_000)
    second = Rates(
        input_uncached=5_000_000,
        output=20_000_000,
        input_cached=1_000_000,
        long_context_above=1_000_000,
        long_context=third,
    )
    assert row.rates.long_context_above == 200_000
    assert row.rates.long_context == second


def test_what_is_free_or_not_priced_by_the_token_is_left_out_and_counted() -> None:
    data = table(
        free={**GPT, "input_cost_per_token": 0.0, "output_cost_per_token": 0},
        half={"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06},
        speech={**GPT, "mode": "audio_transcription"},
        anonymous={"input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06},
        embed={"litellm_provider": "openai", "mode": "embedding", "input_cost_per_token": 2e-08},
    )
    rows, warnings = read_table(data)
    assert rows == (Row("openai", "embed", Rates(input_uncached=20_000, output=0)),)
    assert warnings == ("price table: left out 4 entries that are free or not priced by the token",)


def test_a_price_per_million_in_a_table_is_warned_about() -> None:
    _, [warning] = read_table(table(m={**GPT, "input_cost_per_token": 2.5}))
    assert "m: input_uncached is 2500000 USD per million tokens" in warning


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "price table: "),
        (b"[1]", "price table: "),
        (b'{"m": 3}', "price table: "),
        (table(m={**GPT, "input_cost_per_token": -1}), "'m'.*input_cost_per_token.*not an amount"),
        (table(m={**GPT, "input_cost_per_token": True}), "not an amount"),
    ],
)
def test_a_broken_table_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_table(data)
