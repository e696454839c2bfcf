"""Writes `prices.json` from the genai-prices package (MIT, Pydantic); run at release time, never by the product.

    python -m pricing.generate_prices --date 2026-11-22 > report.txt

Runs where genai-prices and msgspec are installed. The file holds what is priced by the token and plausible. Everything
left out, changed or found in disagreement is printed for a person to settle: with the source's own resolution of each
name, and with a second public table when `--against FILE` names one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec.structs import replace

from pricing.book import About, Entry, PriceBook, Shipped, Supplier, load
from pricing.generate_names import Irreducible, names_of
from pricing.generate_rates import Model, Refused, records, say
from pricing.rates import price_of, usd_per_mtok
from pricing.tables import read_table

OUT = Path(__file__).with_name("prices.json")

# Not sold by the token, resellers of resellers, and endpoints that no base URL of ours can name.
LEFT_OUT = ("cursor", "elevenlabs", "github-copilot", "openai-decisions", "quicksilverpro", "typesafe")
LEFT_OUT_PREFIX = "huggingface_"
UNIT = "pico-dollars per token (1 USD per million tokens is 1000000); per_call in pico-dollars"


class Provider(Protocol):
    id: str
    fallback_model_providers: list[str] | None
    models: list[Model]

    def find_model(self, model_ref: str) -> Model | None: ...


def entries(providers: Iterable[Provider], today: str) -> Iterator[tuple[Provider, Model, Entry]]:
    for provider in providers:
        for model in provider.models:
            subject = f"{provider.id}/{model.id}"
            try:
                entry = Entry(names=names_of(subject, model.match), prices=records(subject, model, today))
            except (Refused, Irreducible) as reason:
                say(subject, f"left out: {reason}")
            else:
                yield provider, model, entry


def written(shipped: Shipped) -> bytes:
    """One model a line, so that a new release reads as a diff."""
    providers = []
    for name, supplier in shipped.providers.items():
        models = b",\n".join(msgspec.json.encode(entry) for entry in supplier.models)
        fallback = msgspec.json.encode(supplier.fallback)
        providers.append(b'"%s":{"fallback":%s,"models":[\n%s\n]}' % (name.encode(), fallback, models))
    about = msgspec.json.format(msgspec.json.encode(shipped.about), indent=1)
    return b'{"about":%s,\n"providers":{\n%s\n}}\n' % (about, b",\n".join(providers))


def compare_names(kept: Iterable[tuple[Provider, Model, Entry]], book: PriceBook) -> None:
    """Every name in the book against what the source would resolve it to."""
    prices = {(provider.id, model.id): price_of(entry.prices[0]) for provider, model, entry in kept}
    for provider, _, entry in kept:
        for name in entry.names:
            sample = name.strip("*").replace("####-##-##", "2026-10-01").replace("########", "20261001")
            model = provider.find_model(sample)
            theirs = None if model is None else prices.get((provider.id, model.id))
            if book.find(provider.id, sample) != theirs:
                say(f"{provider.id}/{sample}", f"disagreement: the source means {model and model.id}")


def compare_table(book: PriceBook, table: bytes) -> None:
    shared, equal = 0, 0
    for row in read_table(table)[0]:
        ours, theirs = book.find(row.provider, row.name), price_of(row.rates)
        if ours is None:
            continue
        shared += 1
        if (ours.input_uncached, ours.output) == (theirs.input_uncached, theirs.output):
            equal += 1
            continue
        pairs = ((ours.input_uncached, theirs.input_uncached), (ours.output, theirs.output))
        text = ", ".join(f"{usd_per_mtok(mine)} against {usd_per_mtok(other)}" for mine, other in pairs)
        say(f"{row.provider}/{row.name}", f"disagreement with the table: {text}")
    say("table", f"{shared} models in both, {equal} agree")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--date", required=True, help="the day whose prices are taken, such as 2026-11-22")
    parser.add_argument("--against", type=Path, help="a table of per-token prices in LiteLLM's format to compare with")
    options = parser.parse_args()
    everyone: list[Provider] = import_module("genai_prices.data").providers
    chosen = [one for one in everyone if one.id not in LEFT_OUT and not one.id.startswith(LEFT_OUT_PREFIX)]
    package = metadata.distribution("genai-prices")
    [licence] = [file for file in package.files or () if file.name == "LICENSE"]
    about = About(
        date=options.date,
        source=f"genai-prices {package.version}",
        unit=UNIT,
        licence=Path(str(package.locate_file(licence))).read_text().strip(),
    )
    kept = list(entries(chosen, options.date))
    suppliers = {one.id: Supplier(models=(), fallback=tuple(one.fallback_model_providers or ())) for one in chosen}
    for provider, _, entry in kept:
        supplier = suppliers[provider.id]
        suppliers[provider.id] = replace(supplier, models=(*supplier.models, entry))
    data = written(Shipped(about=about, providers=dict(sorted(suppliers.items()))))
    book = load(data)
    compare_names(kept, book)
    if options.against:
        compare_table(book, options.against.read_bytes())
    OUT.write_bytes(data)
    say("prices.json", f"{len(kept)} models, {len(data)} bytes")


if __name__ == "__main__":
    main()
