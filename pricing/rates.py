"""What one model costs: the classes of a price, how a price is read from text, and how it is named.

Every figure is an integer number of pico-dollars for one token (1 USD per million tokens is 1,000,000 of them), because
some cached tokens cost 12.5 nano-dollars. Text becomes an integer here and nowhere else; no float and no Decimal ever
holds money. A class that a source leaves out takes the dearest figure it can plausibly have: a cache hit costs plain
input, a cache write plain input, reasoning and audio what the text of their side costs.
"""

from __future__ import annotations

import hashlib
import re
from fractions import Fraction
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from proxy.types import Price

TokenClass = Literal[
    "input_uncached",
    "input_cached",
    "input_cache_write_5m",
    "input_cache_write_1h",
    "input_audio",
    "input_image",
    "output",
    "reasoning",
    "output_audio",
]
CLASSES: tuple[TokenClass, ...] = (
    "input_uncached",
    "input_cached",
    "input_cache_write_5m",
    "input_cache_write_1h",
    "input_audio",
    "input_image",
    "output",
    "reasoning",
    "output_audio",
)

PICOS_PER_USD = 10**12
TOKENS_PER_PRICE = 10**6  # people quote prices per million tokens
PLAUSIBLE_PICOS = (1_000, 1_000_000_000)  # 0.001 to 1,000 USD per million tokens: every known price lies well inside

# The other names under which operators know a provider of the book.
ALIASES = {
    "amazon": "aws",
    "amazon-bedrock": "aws",
    "azure_ai": "azure",
    "azure-openai": "azure",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "cohere_chat": "cohere",
    "fireworks-ai": "fireworks",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "mistralai": "mistral",
    "moonshot": "moonshotai",
    "text-completion-openai": "openai",
    "together-ai": "together",
    "together_ai": "together",
    "vertex": "google",
    "vertex_ai": "google",
    "voyage": "voyageai",
    "xai": "x-ai",
    "z-ai": "zai",
}

# Bounded on purpose: a longer exponent would make the exact integer as large as it says.
_AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,2})?")


class Rates(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One price as files write it: what is left out is derived. `valid_from` is a day such as 2027-01-01."""

    input_uncached: int
    output: int
    input_cached: int | None = None
    input_cache_write_5m: int | None = None
    input_cache_write_1h: int | None = None
    input_audio: int | None = None
    input_image: int | None = None
    reasoning: int | None = None
    output_audio: int | None = None
    per_call: int = 0
    long_context_above: int | None = None
    long_context: Rates | None = None
    tier: str = "standard"
    valid_from: str = ""


class Row(Struct, frozen=True):
    """A price that a user supplies for one model (or, with a `*`, for several)."""

    provider: str
    name: str
    rates: Rates


def provider_name(name: str) -> str:
    """The book's own name of a provider."""
    lower = name.lower()
    return ALIASES.get(lower, lower)


def picos_of(text: str, per: int) -> int:
    """Pico-dollars for one token (or call), given USD for `per` of them. Rounds up: a price is never too low."""
    if _AMOUNT.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not an amount in USD, such as 2.50")
    exact = Fraction(text) * PICOS_PER_USD / per
    return -(-exact.numerator // exact.denominator)


def usd_per_mtok(picos: int) -> str:
    """A price as people read it: 2500000 is 2.5."""
    whole, rest = divmod(picos, TOKENS_PER_PRICE)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".")


def price_of(rates: Rates) -> Price:
    """The whole, immutable price: every class filled in, and named by its content."""
    plain, output = rates.input_uncached, rates.output
    write_5m = _given(rates.input_cache_write_5m, plain)
    price = Price(
        id="",
        input_uncached=plain,
        output=output,
        input_cached=_given(rates.input_cached, plain),
        input_cache_write_5m=write_5m,
        input_cache_write_1h=_given(rates.input_cache_write_1h, write_5m),
        input_audio=_given(rates.input_audio, plain),
        input_image=_given(rates.input_image, plain),
        reasoning=_given(rates.reasoning, output),
        output_audio=_given(rates.output_audio, output),
        per_call=rates.per_call,
        long_context_above=rates.long_context_above,
        long_context=None if rates.long_context is None else price_of(rates.long_context),
    )
    return replace(price, id=price_id(price))


def with_claude_writes(name: str, rates: Rates) -> Rates:
    """Whoever sells Claude charges 1.25 times input for a 5-minute cache write and twice input for an hour (Anthropic's
    published multipliers); sources often leave one or both out, and plain input would be too low."""
    if "claude" not in name:
        return rates
    plain = rates.input_uncached
    return replace(
        rates,
        input_cache_write_5m=_given(rates.input_cache_write_5m, -(-plain * 5 // 4)),
        input_cache_write_1h=_given(rates.input_cache_write_1h, plain * 2),
        long_context=None if rates.long_context is None else with_claude_writes(name, rates.long_context),
    )


def price_id(price: Price) -> str:
    """The first 16 hexadecimal digits of SHA-256 over the canonical form: equal figures, equal name."""
    return hashlib.sha256(_canonical(price).encode()).hexdigest()[:16]


def _canonical(price: Price) -> str:
    figures = [f"{name}={getattr(price, name)}" for name in (*CLASSES, "per_call")]
    if price.long_context is not None:
        figures.append(f"above {price.long_context_above}:({_canonical(price.long_context)})")
    return ",".join(figures)


def _given(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value
