"""The price book: which price a model has at a provider, and what a call or a hold costs at that price.

Layers, the last wins: the shipped `prices.json` (generated, dated), a table the user supplies, the configuration's
overrides. A model the book does not know has no price at all: it is never zero, and never that of a model with a
similar name. Names are matched exactly, then with the digits of a dated snapshot masked, then by the longest pattern.
Costs are exact in pico-dollars and rounded up to nano-dollars once, at the end. Whether a call may run, and what is
left to pay it with, is decided elsewhere.
"""

from __future__ import annotations

import re
from bisect import insort
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from pricing.rates import CLASSES, Rates, Row, price_of, provider_name
from pricing.tables import read_overrides, read_table
from proxy.types import Price, Usage

InputClass = Literal[
    "input_uncached", "input_cached", "input_cache_write_5m", "input_cache_write_1h", "input_audio", "input_image"
]

STANDARD: Final = "standard"
MAY_OCCUR: Final[tuple[InputClass, ...]] = ("input_uncached", "input_cache_write_5m")  # in any call
FOUND_MAX = 4_096  # names come from clients, so what is remembered of them is bounded
PICOS_PER_NANO = 1_000
_SNAPSHOT = re.compile(r"(?<=[-@])(?:[0-9]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2})$")
_DIGIT = re.compile(r"[0-9]")


class About(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the shipped prices come from; shown beside every cost that is computed from them."""

    date: str
    source: str
    unit: str
    licence: str


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """A model: every name it answers to (`*` at an end: anything; `#`: a digit of its date) and its prices."""

    names: tuple[str, ...]
    prices: tuple[Rates, ...]


class Supplier(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    models: tuple[Entry, ...]
    fallback: tuple[str, ...] = ()  # whose models it sells under their own names and prices


class Shipped(Struct, frozen=True, forbid_unknown_fields=True):
    """The file `prices.json`."""

    about: About
    providers: dict[str, Supplier]


class Line(Struct, frozen=True):
    """One line of a bill: `usd_picos` is `count * usd_picos_each`."""

    name: str  # a token class, or "call"
    count: int
    usd_picos_each: int
    usd_picos: int


class Bill(Struct, frozen=True):
    """The arithmetic of one cost, for people to check; `usd_nanos` is what was charged."""

    lines: tuple[Line, ...]
    usd_nanos: int
    long_context: bool


class _Names:
    """The models of one provider in one layer."""

    __slots__ = ("_exact", "_patterns")

    def __init__(self) -> None:
        self._exact: dict[str, tuple[Rates, ...]] = {}
        self._patterns: list[tuple[str, tuple[Rates, ...]]] = []

    def add(self, name: str, prices: tuple[Rates, ...]) -> None:
        if "*" in name:
            insort(self._patterns, (name, prices), key=lambda pattern: -len(pattern[0].strip("*")))
        else:
            self._exact[name] = prices

    def match(self, model: str) -> tuple[Rates, ...]:
        prices = self._exact.get(model)
        if prices is None:
            masked = _SNAPSHOT.sub(lambda date: _DIGIT.sub("#", date[0]), model)
            prices = self._exact.get(masked)
        if prices is not None:
            return prices
        return next((prices for pattern, prices in self._patterns if _fits(pattern, model)), ())


def _fits(pattern: str, model: str) -> bool:
    literal = pattern.strip("*")
    if pattern.startswith("*"):
        return literal in model if pattern.endswith("*") else model.endswith(literal)
    return model.startswith(literal)


class PriceBook:
    """Immutable but for what it remembers of past questions."""

    def __init__(
        self,
        about: About,
        layers: tuple[Mapping[str, _Names], ...],
        *,
        fallback: Mapping[str, tuple[str, ...]],
        day: str,
    ) -> None:
        self.about = about
        self._layers = layers  # the first to know a model decides
        self._fallback = fallback
        self._day = day
        self._found: dict[tuple[str, str, str], Price | None] = {}

    def __repr__(self) -> str:
        models = sum(len(names._exact) + len(names._patterns) for layer in self._layers for names in layer.values())
        return f"PriceBook({self.about.source}, {self.about.date}, {models} names in {len(self._layers)} layers)"

    @property
    def models(self) -> frozenset[str]:
        """Every name that has a price of its own; patterns and dated snapshots are not names."""
        exact = (name for layer in self._layers for names in layer.values() for name in names._exact)
        return frozenset(name for name in exact if "#" not in name)

    def find(self, provider: str, model: str, tier: str = STANDARD) -> Price | None:
        """The price of a model; `tier` is the service tier the provider served: priority, flex, fast or batch."""
        key = (provider, model, tier)
        if key in self._found:
            return self._found[key]
        if len(self._found) >= FOUND_MAX:
            self._found.clear()
        price = self._found[key] = self._look_up(provider_name(provider), model.lower(), tier)
        return price

    def with_overrides(self, overrides: Mapping[str, Mapping[str, str]]) -> tuple[PriceBook, tuple[str, ...]]:
        """A book above which the configuration's prices lie, and warnings about them. Raises ValueError."""
        rows, warnings = read_overrides(overrides)
        return self._above(rows), warnings

    def with_table(self, data: bytes) -> tuple[PriceBook, tuple[str, ...]]:
        """A book above which the user's table of per-token prices lies, and warnings about it. Raises ValueError."""
        rows, warnings = read_table(data)
        return self._above(rows), warnings

    def _above(self, rows: Iterable[Row]) -> PriceBook:
        layer: dict[str, _Names] = {}
        for row in rows:
            layer.setdefault(row.provider, _Names()).add(row.name, (row.rates,))
        return PriceBook(self.about, (layer, *self._layers), fallback=self._fallback, day=self._day)

    def _look_up(self, provider: str, model: str, tier: str) -> Price | None:
        # All layers of the provider itself come first: a reseller's own price is never that of the model's maker.
        for seller in (provider, *self._fallback.get(provider, ())):
            for layer in self._layers:
                names = layer.get(seller)
                prices = names.match(model) if names else ()
                if prices:
                    rates = _valid(prices, tier, self._day)
                    return None if rates is None else price_of(rates)
        return None


def _valid(prices: tuple[Rates, ...], tier: str, day: str) -> Rates | None:
    valid = [rates for rates in prices if rates.tier == tier and rates.valid_from <= day]
    return max(valid, key=lambda rates: rates.valid_from, default=None)


def load(source: Path | bytes | None = None, *, day: str | None = None) -> PriceBook:
    """The book in `source` (the shipped one if None) as it is valid on `day` (2026-11-22; by default the book's date).
    Raises ValueError."""
    if source is None:
        data = resources.files("pricing").joinpath("prices.json").read_bytes()
    else:
        data = source if isinstance(source, bytes) else source.read_bytes()
    try:
        shipped = msgspec.json.decode(data, type=Shipped)
    except msgspec.MsgspecError as error:
        raise ValueError(f"price book: {error}") from None
    layer: dict[str, _Names] = {}
    for provider, supplier in shipped.providers.items():
        names = layer[provider] = _Names()
        for entry in supplier.models:
            for name in entry.names:
                names.add(name, entry.prices)
    fallback = {provider: supplier.fallback for provider, supplier in shipped.providers.items()}
    return PriceBook(shipped.about, (layer,), fallback=fallback, day=day or shipped.about.date)


def cost_usd_nanos(usage: Usage, price: Price) -> int:
    """What `usage` costs: exact in pico-dollars, rounded up once."""
    if price.long_context is not None:
        price = price_at(price, usage.input_total)
    picos = (
        usage.input_uncached * price.input_uncached
        + usage.input_cached * price.input_cached
        + usage.input_cache_write_5m * price.input_cache_write_5m
        + usage.input_cache_write_1h * price.input_cache_write_1h
        + usage.input_audio * price.input_audio
        + usage.input_image * price.input_image
        + usage.output * price.output
        + usage.reasoning * price.reasoning
        + usage.output_audio * price.output_audio
        + price.per_call
    )
    return -(-picos // PICOS_PER_NANO)


def hold_usd_nanos(
    price: Price,
    input_tokens: int,
    output_tokens: int,
    *,
    may_occur: tuple[InputClass, ...] = MAY_OCCUR,
) -> int:
    """What a call can cost at most: every input token at the dearest class that `may_occur`, every output token at the
    dearest of its side, at the dearest context tier within reach. `output_tokens` is for all choices together."""
    dearest = _hold_picos(price, input_tokens, output_tokens, may_occur)
    while price.long_context is not None and input_tokens > (price.long_context_above or 0):
        price = price.long_context
        dearest = max(dearest, _hold_picos(price, input_tokens, output_tokens, may_occur))
    return -(-dearest // PICOS_PER_NANO)


def _hold_picos(price: Price, input_tokens: int, output_tokens: int, may_occur: tuple[InputClass, ...]) -> int:
    if may_occur is MAY_OCCUR:  # as with most calls
        c_in = max(price.input_uncached, price.input_cache_write_5m)
    else:
        c_in = max([getattr(price, name) for name in may_occur])
    c_out = max(price.output, price.reasoning, price.output_audio)
    return input_tokens * c_in + output_tokens * c_out + price.per_call


def price_at(price: Price, input_total: int) -> Price:
    """The price of the whole call at its context tier; a tier begins above its threshold, not at it."""
    while price.long_context is not None and input_total > (price.long_context_above or 0):
        price = price.long_context
    return price


def explain(usage: Usage, price: Price) -> Bill:
    """`cost_usd_nanos`, line by line."""
    applied = price_at(price, usage.input_total)
    counts = [(str(name), getattr(usage, name), getattr(applied, name)) for name in CLASSES]
    if applied.per_call:
        counts.append(("call", 1, applied.per_call))
    lines = tuple(
        Line(name=name, count=count, usd_picos_each=each, usd_picos=count * each)
        for name, count, each in counts
        if count
    )
    total = sum(line.usd_picos for line in lines)
    return Bill(lines=lines, usd_nanos=-(-total // PICOS_PER_NANO), long_context=applied is not price)
