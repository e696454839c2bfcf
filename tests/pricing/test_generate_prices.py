"""The shipped file is what its generator writes, small enough to review, and disagreements are printed."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from importlib import resources
from types import SimpleNamespace as Of
from typing import Any

import msgspec
import pytest

from pricing.book import Entry, Shipped, load
from pricing.generate_prices import compare_names, compare_table, entries, written

SHIPPED = resources.files("pricing").joinpath("prices.json").read_bytes()
EXPECTED = {
    *("anthropic", "aws", "azure", "cerebras", "cohere", "deepseek", "fireworks", "google", "groq", "mistral"),
    *("openai", "openrouter", "perplexity", "together", "x-ai"),
}


def test_the_shipped_file_is_in_the_generators_form() -> None:
    shipped = msgspec.json.decode(SHIPPED, type=Shipped)
    assert written(shipped) == SHIPPED
    assert list(shipped.providers) == sorted(shipped.providers)


def test_the_shipped_file_is_dated_complete_and_small() -> None:
    shipped = msgspec.json.decode(SHIPPED, type=Shipped)
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", shipped.about.date)
    assert re.fullmatch(r"genai-prices \d+\.\d+\.\d+", shipped.about.source)
    assert set(shipped.providers) >= EXPECTED
    assert sum(len(supplier.models) for supplier in shipped.providers.values()) > 1_000
    assert len(SHIPPED) < 400_000


def test_one_model_is_one_line() -> None:
    models = sum(len(supplier["models"]) for supplier in json.loads(SHIPPED)["providers"].values())
    assert sum(line.startswith(b'{"names"') for line in SHIPPED.splitlines()) == models


def model(id: str, usd: str, match: Of | None = None) -> Of:
    prices = Of(input_mtok=Decimal(usd), output_mtok=Decimal(usd))
    return Of(id=id, match=match or Of(equals=id), prices=prices, price_variants=None)


def provider(*models: Of) -> Any:
    def find_model(name: str) -> Of | None:
        return next((one for one in models if name.startswith(getattr(one.match, "starts_with", one.id))), None)

    return Of(id="maker", models=list(models), fallback_model_providers=None, find_model=find_model)


def book_of(kept: list[Entry]) -> Any:
    about = {"date": "2026-11-22", "source": "", "unit": "", "licence": ""}
    models = json.loads(msgspec.json.encode(kept))
    return load(json.dumps({"about": about, "providers": {"maker": {"models": models}}}).encode())


def test_what_is_left_out_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    everyone = [provider(model("a", "1"), model("b", "0"), model("c", "1", Of(regex="c")))]
    assert [entry.names for _, _, entry in entries(everyone, "2026-11-22")] == [("a",)]
    assert capsys.readouterr().out == "maker/b: left out: free\nmaker/c: left out: regex c\n"


def test_a_name_the_source_resolves_otherwise_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    everyone = [provider(model("a", "1", Of(starts_with="a")), model("ab", "2"))]
    kept = list(entries(everyone, "2026-11-22"))
    compare_names(kept, book_of([entry for _, _, entry in kept]))
    assert capsys.readouterr().out == "maker/ab: disagreement: the source means a\n"


def test_agreement_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    kept = list(entries([provider(model("a", "1", Of(starts_with="a")))], "2026-11-22"))
    compare_names(kept, book_of([entry for _, _, entry in kept]))
    assert capsys.readouterr().out == ""


def test_another_table_that_disagrees_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    kept = [entry for _, _, entry in entries([provider(model("a", "1"), model("b", "1"))], "2026-11-22")]
    row = {"litellm_provider": "maker", "output_cost_per_token": 1e-06}
    table = {
        "a": {**row, "input_cost_per_token": 1e-06},
        "b": {**row, "input_cost_per_token": 2e-06},
        "c": {**row, "input_cost_per_token": 3e-06},
    }
    compare_table(book_of(kept), json.dumps(table).encode())
    assert capsys.readouterr().out == (
        "maker/b: disagreement with the table: 1 against 2, 1 against 1\ntable: 2 models in both, 1 agree\n"
    )
