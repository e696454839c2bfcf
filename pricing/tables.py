"""Reads the prices a user supplies: overrides in the configuration, and a whole table in a file.

Overrides are decimal text in USD per million tokens. The table is the common JSON of per-token prices that LiteLLM made
familiar (`model_prices_and_context_window.json`); it is only ever a file on disk, nothing is fetched. What is certainly
wrong raises `ValueError` with the key's name; what is merely odd is returned as a warning, and so is every entry of a
table that is left out, for a model that looks priced and is not would run free of charge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

import msgspec
from msgspec import Raw, convert
from msgspec.structs import replace

from pricing.rates import (
    CLASSES,
    PLAUSIBLE_PICOS,
    TOKENS_PER_PRICE,
    Rates,
    Row,
    picos_of,
    provider_name,
    usd_per_mtok,
    with_claude_writes,
)

Rows = tuple[tuple[Row, ...], tuple[str, ...]]  # what was read, and warnings about it

LONG = "long_context_"
ABOVE = "long_context_above_tokens"
CALL = "call_usd"
MTOK = "_usd_per_mtok"
OVERRIDE_KEYS = {
    "input_usd_per_mtok": "input_uncached",
    **{f"{name}{MTOK}": name for name in CLASSES if name != "input_uncached"},
}

TABLE_KEYS = {
    "input_cost_per_token": "input_uncached",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "input_cached",
    "cache_creation_input_token_cost": "input_cache_write_5m",
    "cache_creation_input_token_cost_above_1hr": "input_cache_write_1h",
    "input_cost_per_audio_token": "input_audio",
    "input_cost_per_image_token": "input_image",
    "output_cost_per_reasoning_token": "reasoning",
    "output_cost_per_audio_token": "output_audio",
}
OUTPUTLESS_MODES = {"embedding", "rerank"}
TABLE_MODES = {None, "chat", "completion", "responses", *OUTPUTLESS_MODES}
_LONG_KEY = re.compile(r"(?P<base>[a-z_0-9]+)_above_(?P<thousand>[0-9]{1,4})k_tokens")


def read_overrides(overrides: Mapping[str, Mapping[str, str]]) -> Rows:
    """`{"openai/my-finetune": {"input_usd_per_mtok": "3", "output_usd_per_mtok": "12"}}`: whole prices."""
    rows, warnings = [], []
    for key, fields in overrides.items():
        provider, slash, name = key.partition("/")
        if not (provider and slash and name):
            raise ValueError(f"price override {key!r}: the name must be provider/model")
        rates = with_claude_writes(name.lower(), _override(key, fields))
        rows.append(Row(provider_name(provider), name.lower(), rates))
        warnings += [f"price override {key}: {text}" for text in (*_gifts(rates), *_oddities(rates))]
    return tuple(rows), tuple(warnings)


def _override(key: str, fields: Mapping[str, str]) -> Rates:
    plain = {name: text for name, text in fields.items() if not name.startswith(LONG)}
    long = {name.removeprefix(LONG): text for name, text in fields.items() if name.startswith(LONG) and name != ABOVE}
    figures = _override_figures(key, plain)
    if bool(long) != (ABOVE in fields):
        raise ValueError(f"price override {key!r}: {ABOVE} and {LONG}... prices belong together")
    if long:
        above = fields[ABOVE]
        if not above.isdecimal():
            raise ValueError(f"price override {key!r}: {ABOVE} must be a number of tokens, not {above!r}")
        figures["long_context_above"] = int(above)
        long = {CALL: plain[CALL], **long} if CALL in plain else long
    rates = convert(figures, Rates)
    return replace(rates, long_context=convert(_override_figures(key, long), Rates)) if long else rates


def _override_figures(key: str, fields: Mapping[str, str]) -> dict[str, int]:
    figures = {}
    for name, text in fields.items():
        if name == CALL:
            figures["per_call"] = picos_of(text, 1)
        elif name in OVERRIDE_KEYS:
            figures[OVERRIDE_KEYS[name]] = picos_of(text, TOKENS_PER_PRICE)
        else:
            near = get_close_matches(name, [*OVERRIDE_KEYS, CALL, ABOVE], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"price override {key!r}: unknown key {name!r}{hint}")
    for needed in ("input_usd_per_mtok", "output_usd_per_mtok"):
        if OVERRIDE_KEYS[needed] not in figures:
            raise ValueError(f"price override {key!r}: {needed} is missing")
    return figures


def _gifts(rates: Rates) -> Iterator[str]:
    yield from (f"{name} is free of charge" for name in CLASSES if getattr(rates, name) == 0)


def _oddities(rates: Rates) -> Iterator[str]:
    """What looks like a price for one token, or one multiplied by a million."""
    low, high = PLAUSIBLE_PICOS
    for name in CLASSES:
        picos = getattr(rates, name)
        if not picos or low <= picos <= high:
            continue
        other = "for one token" if picos < low else "that was multiplied by a million once too often"
        yield f"{name} is {usd_per_mtok(picos)} USD per million tokens; is it a price {other}?"
    if rates.long_context is not None:
        yield from (f"long context: {text}" for text in _oddities(rates.long_context))


def read_table(data: bytes) -> Rows:
    """Entries without token prices (images, seconds, characters) and free ones are left out, and counted."""
    try:
        entries = msgspec.json.decode(data, type=dict[str, dict[str, Raw]])
    except msgspec.MsgspecError as error:
        raise ValueError(f"price table: {error}") from None
    rows, warnings, left_out = [], [], 0
    for key, fields in entries.items():
        rates = _table_rates(key, fields)
        provider = _text(fields.get("litellm_provider"))
        if rates is None or provider is None:
            left_out += 1
            continue
        row = _table_row(provider, key, rates)
        rows.append(row)
        warnings += [f"price table, {key}: {text}" for text in _oddities(row.rates)]
    if left_out:
        warnings.append(f"price table: left out {left_out} entries that are free or not priced by the token")
    return tuple(rows), tuple(warnings)


def _table_row(provider: str, key: str, rates: Rates) -> Row:
    """`gemini/gemini-2.5-pro` is google's gemini-2.5-pro, but openrouter's own names contain a slash."""
    own = "vertex_ai" if provider.startswith("vertex_ai-") else provider
    prefix, slash, rest = key.partition("/")
    name = rest if slash and provider_name(prefix) == provider_name(own) else key
    return Row(provider_name(own), name.lower(), with_claude_writes(name.lower(), rates))


def _table_rates(key: str, fields: Mapping[str, Raw]) -> Rates | None:
    figures, levels = dict[str, int](), dict[int, dict[str, int]]()
    mode = _text(fields.get("mode"))
    for name, raw in fields.items():
        long = _LONG_KEY.fullmatch(name)
        base = long["base"] if long else name
        if base not in TABLE_KEYS or bytes(raw) == b"null":
            continue
        picos = _table_picos(key, name, raw)
        if picos == 0:
            continue  # zero stands for "not known" as often as for "free": the class takes its usual price
        at = levels.setdefault(int(long["thousand"]) * 1000, {}) if long else figures
        at[TABLE_KEYS[base]] = picos
    if mode in OUTPUTLESS_MODES:
        figures.setdefault("output", 0)
    complete = mode in TABLE_MODES and figures.keys() >= {"input_uncached", "output"}
    return _stacked(figures, levels) if complete else None


def _table_picos(key: str, name: str, raw: Raw) -> int:
    try:
        return picos_of(bytes(raw).decode().strip('"'), 1)
    except ValueError as error:
        raise ValueError(f"price table, {key!r}: {name}: {error}") from None


def _stacked(figures: Mapping[str, int], levels: Mapping[int, Mapping[str, int]]) -> Rates:
    """Each context level is a whole price: what it does not say holds over from the level below."""
    merged = dict(figures)
    prices = [(0, convert(merged, Rates))]
    for above in sorted(levels):
        merged |= levels[above]
        prices.append((above, convert(merged, Rates)))
    whole = prices[-1]
    for above, rates in reversed(prices[:-1]):
        whole = (above, replace(rates, long_context_above=whole[0], long_context=whole[1]))
    return whole[1]


def _text(raw: Raw | None) -> str | None:
    return None if raw is None else msgspec.json.decode(raw, type=str | None)
