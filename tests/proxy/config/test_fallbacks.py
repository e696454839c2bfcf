"""A model's fallbacks: read in their order, and refused where they name nothing that could answer."""

from __future__ import annotations

import pytest

from proxy.config.fallbacks import Fallbacks
from proxy.config.load import ConfigError, load
from proxy.config.tree import Value

PROVIDERS: Value = {"sim": {"kind": "simulated"}}


def models(fallbacks: Value) -> dict[str, Value]:
    small: Value = {"targets": ["sim/small"], "fallbacks": fallbacks}
    return {"providers": PROVIDERS, "models": {"small": small, "large": "sim/large", "any/*": {"targets": ["sim/*"]}}}


def test_those_for_one_kind_of_error_stand_before_those_for_all() -> None:
    given: Value = {"any": ["large", "any/x"], "overload": "large", "context_window": "any/long"}
    found = load(None, {}, models(given)).models["small"].fallbacks
    assert found.listed() == (
        ("context_window", "any/long"),
        ("overload", "large"),
        ("any", "large"),
        ("any", "any/x"),
    )
    assert Fallbacks().listed() == ()


@pytest.mark.parametrize(
    ("fallbacks", "where"),
    [
        ({"overload": "lagre"}, "models.small.fallbacks.overload: it must name another model"),
        ({"overload": "small"}, "models.small.fallbacks.overload: it must name another model"),
        ({"context_window": "any/*"}, "models.small.fallbacks.context_window: it must name another model"),
        ({"any": ["large", "nobody"]}, "models.small.fallbacks.any.1: it must name another model"),
        ({"any": ["large", "large"]}, "a name is here twice"),
        ({"any": [f"any/{number}" for number in range(9)]}, "models.small.fallbacks.any"),
        ({"timeout": "large"}, "models.small.fallbacks.timeout: unknown key"),
        ("large", "models.small.fallbacks"),
    ],
)
def test_a_fallback_that_cannot_answer_is_refused_where_it_stands(fallbacks: Value, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {}, models(fallbacks))
    assert any(where in message for message in caught.value.messages), caught.value.messages
