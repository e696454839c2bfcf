from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.config.load import load
from proxy.config.schema import Block, Config, PriceOverride, leaves
from proxy.config.tree import Value
from proxy.secret import MASK, Secret

MINIMAL: dict[str, Value] = {"providers": {"sim": {"kind": "simulated"}}, "models": {"small": "sim/small"}}


def config(**more: Value) -> Config:
    return load(None, {}, {**MINIMAL, **more})


def test_the_defaults_are_those_of_the_manual() -> None:
    made = config()
    assert (made.server.host, made.server.port, made.server.max_body_mb) == ("127.0.0.1", 8080, 32)
    assert (made.admin.host, made.admin.port, made.admin.token) == ("127.0.0.1", 8081, None)
    assert (made.defaults.deadline_s, made.defaults.first_token_timeout_s, made.defaults.idle_timeout_s) == (
        600,
        120,
        60,
    )
    assert (made.defaults.retry.attempts, made.defaults.retry.budget) == (3, 0.1)
    assert (made.pricing.unknown, made.defaults.content, made.telemetry.log_format) == ("refuse", "off", "auto")


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        config().server.port = 1


def test_an_agent_has_the_defaults_but_for_what_it_says_itself() -> None:
    agents: Value = {"a": {"idle_timeout_s": 5, "retry": {"attempts": 1}}, "b": {}}
    made = config(agents=agents, defaults={"deadline_s": 30, "retry": {"attempts": 4, "budget": 0.2}})
    own, plain, other = made.rules("a"), made.rules("b"), made.rules("unlisted")
    assert (own.deadline_s, own.idle_timeout_s, own.retry.attempts, own.retry.budget) == (30, 5, 1, 0.2)
    assert (plain.deadline_s, plain.retry.attempts) == (30, 4)
    assert other is made.defaults


def test_configured_keys_are_handed_over_without_the_empty_ones() -> None:
    made = config(keys=[{"key": "k1", "agent": "any"}, {"key": None}, {"key": "k2", "agent": "a", "models": ["small"]}])
    (first, anyone), (second, record) = made.configured_keys()
    assert (first, anyone.agent, anyone.models) == (Secret("k1"), None, None)
    assert (second, record.agent, record.models) == (Secret("k2"), "a", ("small",))


def test_the_version_names_the_content() -> None:
    version = config().version
    assert len(version) == 12
    assert version == config().version == config(server={"port": 8080}).version
    assert version != config(server={"port": 8082}).version
    assert config(keys=[{"key": "one"}]).version != config(keys=[{"key": "two"}]).version


def test_asking_for_the_version_changes_nothing() -> None:
    made = config()
    before = list(leaves(made))
    assert made.version
    assert list(leaves(made)) == before


def test_prices_are_handed_over_as_they_were_written() -> None:
    price = PriceOverride.model_validate(
        {"input_usd_per_mtok": "0.10", "output_usd_per_mtok": "3", "long_context_above_tokens": 1000}
    )
    assert price.written() == {
        "input_usd_per_mtok": "0.10",
        "output_usd_per_mtok": "3",
        "long_context_above_tokens": "1000",
    }


def test_no_representation_shows_a_secret() -> None:
    canary = "sk-canary-123456"
    made = config(
        keys=[{"key": canary}],
        admin={"token": canary},
        providers={"sim": {"kind": "openai", "api_key": canary, "headers": {"x-key": canary}}},
    )
    for shown in (repr(made), str(made), str(made.model_dump()), made.model_dump_json(), made.version):
        assert canary not in shown
    assert repr(made).count(MASK) == 4


def test_every_block_refuses_what_it_does_not_know() -> None:
    blocks = [Block]
    for block in blocks:
        blocks += block.__subclasses__()
        assert block.model_config["extra"] == "forbid"
        assert block.model_config["frozen"]
        assert block.model_config["strict"]
    assert len(blocks) > 15
