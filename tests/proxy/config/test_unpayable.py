"""Budgets and targets that could never admit a call are told, others are not."""

from __future__ import annotations

import pytest

from proxy.config.schema import Config
from proxy.config.unpayable import unpayable, unpriced
from proxy.types import Price
from tests.build import PRICE


def price(provider: str, model: str) -> Price | None:
    return PRICE if model in ("small", "large") else None


def told(*budget: dict[str, object], unknown: str = "refuse", models: list[str] | None = None) -> list[str]:
    values: dict[str, object] = {
        "providers": {"sim": {"kind": "simulated"}},
        "models": {
            "m": {"targets": [{"provider": "sim", "model": "small"}]},
            "free": {"targets": [{"provider": "sim", "model": "unpriced"}]},
            "any-*": {"targets": [{"provider": "sim", "model": "*"}]},
        },
        "agents": {"a": {"budget": list(budget), "models": models or ["m"]}},
        "pricing": {"unknown": unknown},
    }
    return list(unpayable(Config.model_validate(values), price))


def test_too_little_money_for_the_shortest_answer_is_told_with_what_it_takes() -> None:
    (warning,) = told({"usd": "0.0001", "per": "day"})
    assert warning == (
        "agents.a.budget.0 admits no call: 64 tokens of the cheapest model that may be used hold 0.00012925 USD"
    )
    assert told({"usd": "0.00012925", "per": "day"}) == []


@pytest.mark.parametrize("unit", ["tokens", "requests", "steps", "concurrency"])
def test_nothing_of_a_unit_admits_nothing(unit: str) -> None:
    assert told({unit: 1}, {unit: 0}) == ["agents.a.budget.1 admits no call: it is 0"]


def test_a_model_that_is_free_or_not_known_yet_may_be_payable() -> None:
    assert told({"usd": "0"}, models=["m", "any-*"]) == []
    assert told({"usd": "0"}, models=["m", "free"], unknown="allow") == []
    assert len(told({"usd": "0"}, models=["m"], unknown="allow")) == 1


def test_defaults_keys_and_teams_are_looked_at_and_what_agents_inherit_is_said_once() -> None:
    none = [{"requests": 0}]
    config = Config.model_validate(
        {
            "defaults": {"budget": none},
            "agents": {"a": {}},
            "keys": [{"key": "k" * 20, "budget": none}],
            "teams": {"t": {"budget": none}},
        }
    )
    inheriting = config.agents["a"].model_copy(update={"budget": config.defaults.budget})
    config = config.model_copy(update={"agents": {"a": inheriting}})
    places = [warning.partition(" ")[0] for warning in unpayable(config, price)]
    assert places == ["defaults.budget.0", "keys.0.budget.0", "teams.t.budget.0"]


@pytest.mark.parametrize(("unknown", "places"), [("refuse", ["models.free.targets.1"]), ("allow", [])])
def test_a_target_without_a_price_is_told_where_it_would_be_refused(unknown: str, places: list[str]) -> None:
    values: dict[str, object] = {
        "providers": {"sim": {"kind": "simulated"}},
        "models": {
            "free": {"targets": [{"provider": "sim", "model": "small"}, {"provider": "sim", "model": "unpriced"}]},
            "any-*": {"targets": [{"provider": "sim", "model": "*"}]},
        },
        "pricing": {"unknown": unknown},
    }
    warnings = list(unpriced(Config.model_validate(values), price))
    assert [warning.partition(":")[0] for warning in warnings] == places
    assert all("'sim/unpriced'" in warning for warning in warnings)
