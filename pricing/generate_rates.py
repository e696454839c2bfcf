"""From a model of the genai-prices package to the records of the price book; part of `generate_prices`.

A class the source lacks is left to `pricing.rates`. Of prices by time of day the dearest stands. What `Usage` cannot
tell apart (image or video output) takes the dearest price of its side. A cache write below the price of input is a fee
on top of it. What is not priced by the token, free, or implausible is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Protocol

import msgspec
from msgspec.structs import replace

from pricing.book import STANDARD
from pricing.generate_names import Clause
from pricing.rates import CLASSES, PICOS_PER_USD, PLAUSIBLE_PICOS, Rates, usd_per_mtok, with_claude_writes

RATIO_MAX = 25  # output to input; the dearest of a known model is 24, averages over sellers have shown 284
WITHOUT_OUTPUT = ("embed", "rerank", "bge-", "gte-", "voyage-")
TIERS = {"service_tier": {"priority", "flex", "fast"}, "processing": {"batch"}, "speed": {"fast"}}

MTOK = {
    "input_mtok": "input_uncached",
    "cache_read_mtok": "input_cached",
    "cache_write_mtok": "input_cache_write_5m",
    "cache_write_1h_mtok": "input_cache_write_1h",
    "input_audio_mtok": "input_audio",
    "input_image_mtok": "input_image",
    "input_video_mtok": "input_image",
    "output_mtok": "output",
    "output_image_mtok": "output",
    "output_video_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "output_audio",
}
# Fees for tools a provider runs, and classes no report tells apart: known, and not part of a token's price.
IGNORED = {
    "web_searches_kcount",
    "storage_searches_kcount",
    "output_citation_mtok",
    "cache_audio_read_mtok",
    "cache_image_read_mtok",
}
PER_CALL = "requests_kcount"


class Tier(Protocol):
    start: int
    price: Decimal


class Tiered(Protocol):
    base: Decimal
    tiers: list[Tier]


Price = Decimal | Tiered
Prices = Mapping[str, Price]


class Day(Protocol):
    def isoformat(self) -> str: ...


class Dated(Protocol):
    start_date: Day


class Conditional(Protocol):
    prices: object
    constraint: object


class Variant(Conditional, Protocol):
    when: dict[str, str]


class Model(Protocol):
    id: str
    match: Clause
    prices: object
    price_variants: list[Variant] | None


class Refused(Exception):
    """This model, or this service tier of it, does not enter the book."""


def say(subject: str, text: str) -> None:
    print(f"{subject}: {text}")


def figures(prices: object) -> dict[str, Price]:
    return {key: value for key, value in vars(prices).items() if value is not None and not key.startswith("_")}


def starts(constraint: object) -> str | None:
    """The day a price begins; "" without a beginning, None for one that holds at some hours of each day only."""
    if constraint is None:
        return ""
    return constraint.start_date.isoformat() if hasattr(constraint, "start_date") else None


def standard(model: Model, day: str) -> dict[str, Price]:
    """As the source resolves it (the last active entry, else the first), but the dearest where hours decide."""
    if not isinstance(model.prices, list):
        return figures(model.prices)
    candidates: list[dict[str, Price]] = []
    for entry in reversed(model.prices):
        begins = starts(entry.constraint)
        if begins is None or begins <= day:
            candidates.append(figures(entry.prices))
        if begins is not None and begins <= day:
            break
    else:
        candidates.append(figures(model.prices[0].prices))
    return max(candidates, key=lambda prices: sum(at_level(price, 0) for price in prices.values()))


def tiers(model: Model, day: str) -> Iterator[tuple[str, dict[str, Price]]]:
    """Each service tier's prices. As in the source, the first active variant that names a class decides on it."""
    plain = standard(model, day)
    yield STANDARD, plain
    changed: dict[str, dict[str, Price]] = {}
    for variant in model.price_variants or ():
        begins = starts(variant.constraint)
        [(key, value), *more] = variant.when.items()
        if not more and value in TIERS.get(key, ()) and begins is not None and begins <= day:
            changed[value] = figures(variant.prices) | changed.get(value, {})
    for tier, prices in changed.items():
        yield tier, plain | prices


def days(model: Model, today: str) -> list[str]:
    """Today, and every later day on which a price of this model begins."""
    conditional = model.prices if isinstance(model.prices, list) else []
    begins = {starts(entry.constraint) or "" for entry in (*conditional, *(model.price_variants or ()))}
    return [today, *sorted(day for day in begins if day > today)]


def at_level(price: Price, above: int) -> Decimal:
    """A price at the context level that begins above so many tokens."""
    if isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if tier.start <= above]
    return reached[-1] if reached and above else price.base


def picos(usd: Decimal, per: int) -> int:
    exact = usd * PICOS_PER_USD / per
    return int(exact.to_integral_value("ROUND_CEILING"))


def rates(subject: str, prices: Prices) -> Rates:
    """The whole price; raises Refused."""
    unknown = sorted(set(prices) - set(MTOK) - IGNORED - {PER_CALL})
    if unknown:
        raise Refused(f"priced by {', '.join(unknown)}")
    levels = sorted({tier.start for price in prices.values() if not isinstance(price, Decimal) for tier in price.tiers})
    whole: Rates | None = None
    for above, beyond in reversed(list(zip([0, *levels], [*levels, None], strict=True))):
        level = level_rates(subject, prices, above)
        whole = level if beyond is None else replace(level, long_context_above=beyond, long_context=whole)
    if whole is None:
        raise Refused("no price")
    return whole


def level_rates(subject: str, prices: Prices, above: int) -> Rates:
    found: dict[str, int] = {}
    for key, price in prices.items():
        if key in MTOK:
            found[MTOK[key]] = max(found.get(MTOK[key], 0), picos(at_level(price, above), 10**6))
    if not any(found.values()):
        raise Refused("free")
    outputless = any(word in subject.lower() for word in WITHOUT_OUTPUT)
    found = ({"output": 0} if outputless else {}) | {name: value for name, value in found.items() if value}
    missing = {"input_uncached", "output"} - set(found)
    if missing:
        raise Refused(f"no price for {' and '.join(sorted(missing))}")
    text = picos(at_level(prices.get("output_mtok", Decimal(0)), above), 10**6)
    if text > RATIO_MAX * found["input_uncached"]:
        raise Refused(f"output {usd_per_mtok(text)} is not plausible for input {usd_per_mtok(found['input_uncached'])}")
    fees = prices.get(PER_CALL)
    found["per_call"] = 0 if fees is None else picos(at_level(fees, above), 1_000)
    return checked(subject, msgspec.convert(found, Rates))


def checked(subject: str, level: Rates) -> Rates:
    low, high = PLAUSIBLE_PICOS
    plain = level.input_uncached
    for name in CLASSES:
        value = getattr(level, name)
        if value is not None and not low <= value <= high and not (name == "output" and value == 0):
            raise Refused(f"{name} {usd_per_mtok(value)} USD per million tokens is not plausible")
    if level.input_cached is not None and level.input_cached > plain:
        raise Refused(f"a cache hit ({usd_per_mtok(level.input_cached)}) dearer than input ({usd_per_mtok(plain)})")
    write = level.input_cache_write_5m
    if write is not None and write < plain:
        say(subject, f"cache write {usd_per_mtok(write)} below input {usd_per_mtok(plain)}: taken on top of it")
        level = replace(level, input_cache_write_5m=plain + write)
    return level


def records(subject: str, model: Model, today: str) -> tuple[Rates, ...]:
    """The prices of today, one for each service tier, and those of later days where they change; raises Refused."""
    last: dict[str, Rates] = {}
    found: list[Rates] = []
    for day in days(model, today):
        for tier, prices in tiers(model, day):
            record = replace(with_claude_writes(model.id.lower(), rates(subject, prices)), tier=tier)
            if tier != STANDARD and record == replace(last[STANDARD], tier=tier) and tier not in last:
                continue
            if last.get(tier) != record:
                found.append(slim(record if day == today else replace(record, valid_from=day)))
                last[tier] = record
    return tuple(found)


def slim(record: Rates) -> Rates:
    """Without what `price_of` derives anyway."""
    plain, output = record.input_uncached, record.output
    derived = {
        "input_cached": plain,
        "input_cache_write_5m": plain,
        "input_cache_write_1h": record.input_cache_write_5m or plain,
        "input_audio": plain,
        "input_image": plain,
        "reasoning": output,
        "output_audio": output,
    }
    same = {name: None for name, value in derived.items() if getattr(record, name) == value}
    long = None if record.long_context is None else slim(record.long_context)
    return replace(record, **same, long_context=long)
