from __future__ import annotations

import pytest

from proxy.config.fields import below, fields, names_at, nearest
from proxy.config.tree import Path, Value

VALUES: Value = {"providers": {"a": {"kind": "simulated"}, "b": {"kind": "openai"}, "c": {}}}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ((), "models"),
        (("server",), "max_body_mb"),
        (("keys", 0), "agent"),
        (("providers", "a"), "stall_share"),
        (("providers", "a", "token_s"), "sigma"),
        (("providers", "b"), "api_key"),
        (("models", "x"), "targets"),
        (("models", "x", "targets", 3), "weight"),
        (("agents", "x", "retry"), "attempts"),
        (("pricing", "overrides", "p/m"), "output_usd_per_mtok"),
    ],
)
def test_every_block_knows_its_names(path: Path, name: str) -> None:
    assert name in names_at(path, VALUES)


@pytest.mark.parametrize(
    "path", [("models",), ("server", "host"), ("nothing",), ("nothing", "at", "all"), ("providers", "c"), ("keys",)]
)
def test_where_names_are_free_or_unknown_there_are_none(path: Path) -> None:
    assert names_at(path, VALUES) == ()


def test_the_kind_of_a_provider_decides_its_names() -> None:
    assert "api_key" not in names_at(("providers", "a"), VALUES)
    assert "seed" not in names_at(("providers", "b"), VALUES)


def test_every_field_is_described_and_listed_once() -> None:
    listed = list(fields())
    assert len({(field.path, field.kind) for field in listed}) == len(listed) > 80
    blocks = {field.path.rpartition(".")[0] for field in listed}
    assert [field.path for field in listed if not field.description and field.path not in blocks] == []


def test_a_field_has_its_default_and_the_kind_it_belongs_to() -> None:
    by_path = {(field.path, field.kind): field for field in fields()}
    assert by_path["server.port", None].default == "8080"
    assert by_path["models.*.targets.*.provider", None].default is None
    assert by_path["providers.*.token_s.median", "simulated"].default is None
    assert by_path["providers.*.abort", "openai"].default == ""


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("opnai", ["openai", "other"], "; did you mean 'openai'?"),
        ("zzz", ["b", "a"], "; known here: a, b"),
        ("zzz", [], ""),
        ("zzz", [f"n{number}" for number in range(9)], ""),
    ],
)
def test_the_nearest_name_is_offered_or_the_few_there_are(name: str, known: list[str], hint: str) -> None:
    assert nearest(name, known) == hint


def test_a_long_wrong_name_costs_no_time() -> None:
    assert nearest("a" * 10**6, ["b" * 60] * 100) == ""


@pytest.mark.parametrize("path", [("a", "x"), ("b", 2), ("b", "0"), ("c",), ("b", 0, "x", "y")])
def test_below_finds_nothing_where_nothing_is(path: Path) -> None:
    assert below({"a": 1, "b": [{"x": 2}]}, path) is None
    assert below({"a": 1, "b": [{"x": 2}]}, ("b", 0, "x")) == 2
