"""From a configuration to what can be asked: targets with their prices, and models that several answer together."""

from __future__ import annotations

from proxy.config.file import Document
from proxy.config.load import build
from proxy.targets import Targets, prices_of, routes_of

VALUES = {
    "providers": {"sim": {"kind": "simulated"}, "own": {"kind": "openai", "engine": "vllm", "base_url": "http://a/v1"}},
    "models": {
        "small": {"targets": ["sim/tiny", "own/tiny"]},
        "any/*": {"targets": ["sim/*"]},
        "smart": {"mode": "cascade", "steps": ["small", "any/x", "own/large"]},
    },
    "pricing": {"overrides": {"sim/tiny": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2"}}},
}


def test_a_cascade_is_made_of_models_of_what_wildcards_stand_for_and_of_targets() -> None:
    config = build(Document("test", VALUES, {}), {})  # type: ignore[arg-type]
    routes = routes_of(config, Targets(config, prices_of(config, "2026-11-22")))
    smart = routes.find("smart")
    assert smart is not None
    assert [(member.name, [target.id for target in member.targets]) for member in smart.members] == [
        ("small", ["sim/tiny", "own/tiny"]),
        ("any/x", ["sim/x"]),
        ("own/large", ["own/large"]),
    ]
    assert {target.id for target in routes.fixed_targets} == {"sim/tiny", "own/tiny", "sim/x", "own/large"}
    assert "smart" in routes.listed


def test_an_operators_price_stands_before_the_books() -> None:
    config = build(Document("test", VALUES, {}), {})  # type: ignore[arg-type]
    targets = Targets(config, prices_of(config, "2026-11-22"))
    price = targets.price("sim", "tiny")
    assert price is not None
    assert (price.input_uncached, price.output) == (1_000_000, 2_000_000)
    assert targets.price("own", "large") is None
