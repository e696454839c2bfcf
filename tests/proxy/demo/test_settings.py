from __future__ import annotations

from pathlib import Path

from pricing.book import load
from proxy.config.load import effective
from proxy.demo.runaway import BUDGET_USD_NANOS
from proxy.demo.settings import configuration
from proxy.providers.simulated import SIMULATED_PRICES

URLS = {"east": "http://127.0.0.1:1/v1", "west": "http://127.0.0.1:2/v1", "north": "http://127.0.0.1:3/v1"}
CLASSES = ("input_uncached", "input_cached", "output")


def test_each_model_has_the_three_providers_behind_it() -> None:
    config = configuration(URLS, {"planner": "hg-1"}, Path("data"))
    assert set(config.models) == set(SIMULATED_PRICES)
    for name, model in config.models.items():
        assert [(target.provider, target.model) for target in model.targets] == [(provider, name) for provider in URLS]


def test_the_gate_knows_the_prices_that_the_providers_charge() -> None:
    overrides = configuration(URLS, {}, Path("data")).pricing.overrides
    book, warnings = load().with_overrides({name: override.written() for name, override in overrides.items()})
    assert warnings == ()
    for provider in URLS:
        for model, charged in SIMULATED_PRICES.items():
            known = book.find(provider, model)
            assert known is not None
            assert [getattr(known, name) for name in CLASSES] == [getattr(charged, name) for name in CLASSES]


def test_each_agent_has_a_key_of_its_own_on_free_loopback_ports() -> None:
    config = configuration(URLS, {"planner": "hg-1", "coder": "hg-2"}, Path("data"))
    assert [(key.agent, key.key.reveal()) for key in config.keys if key.key] == [("planner", "hg-1"), ("coder", "hg-2")]
    assert (config.server.host, config.server.port, config.admin.port) == ("127.0.0.1", 0, 0)


def test_two_agents_have_rules_of_their_own() -> None:
    config = configuration(URLS, {}, Path("data"))
    assert set(config.agents) == {"support", "runaway"}
    assert config.agents["support"].cache.exact == "on"
    (limit,) = [budget.limit() for budget in config.agents["runaway"].budget]
    assert (limit.unit, limit.amount, limit.hold) == ("usd", BUDGET_USD_NANOS, "strict")


def test_nothing_is_tuned() -> None:
    defaults = [
        setting
        for setting in effective(configuration(URLS, {}, Path("data")))
        if setting.path.startswith(("defaults", "limits"))
    ]
    assert defaults
    assert {setting.origin for setting in defaults} == {"default"}
