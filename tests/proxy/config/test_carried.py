"""A configuration is the same on the other side of a process border, down to how amounts were written."""

from __future__ import annotations

import pytest

from proxy.config.carried import carried, carry
from proxy.config.error import ConfigError
from proxy.config.file import parse
from proxy.config.load import build

TEXT = """
providers: {up: {kind: openai, base_url: "http://127.0.0.1:1/v1", api_key: "${KEY}"}}
models: {m: up/real}
defaults: {deadline_s: 30}
agents: {a: {budget: [{usd: 3.10, per: day}]}}
pricing: {overrides: {up/real: {input_usd_per_mtok: 0.100, output_usd_per_mtok: 2}}}
"""


def test_what_arrives_is_what_was_checked() -> None:
    config = build(parse(TEXT, "c.yaml", {"KEY": "sk-secret-1234"}), {"server.workers": 2})
    other = carried(carry(config))
    assert other.version == config.version
    assert other.agents["a"].deadline_s == 30
    assert other.agents["a"].budget[0].usd == "3.10"
    assert other.pricing.overrides["up/real"].input_usd_per_mtok == "0.100"
    assert other.server.workers == 2
    assert "sk-secret" not in repr(other)


def test_what_cannot_be_a_configuration_is_refused() -> None:
    config = build(parse(TEXT, "c.yaml", {"KEY": "sk-secret-1234"}), {})
    config.values["server"] = {"port": "no number"}
    with pytest.raises(ConfigError):
        carried(carry(config))
