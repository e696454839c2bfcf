from __future__ import annotations

import pytest

from proxy.config.found import ENGINE_PORTS, VENDORS, Found, discovered
from proxy.config.load import ConfigError, effective
from proxy.config.providers import ENGINE_NAMES, OpenAIProvider
from proxy.config.tree import Value
from proxy.providers.engines import ENGINES

CANARY = "sk-canary-0123456789"


def found(
    environment: dict[str, str] | None = None, engines: dict[int, tuple[str, ...]] | None = None, **overrides: Value
) -> Found:
    return discovered(environment or {}, (engines or {}).get, overrides)


def targets(told: Found, model: str) -> list[str]:
    return [f"{target.provider}/{target.model}" for target in told.config.models[model].targets]


def test_with_nothing_there_simulated_models_answer_and_say_so() -> None:
    told = found()
    assert set(told.config.models) == {"simulated/*", "sim-small", "sim-large"}
    assert {f"simulated/{model}" for model in ("sim-small", "sim-large")} == set(told.config.pricing.overrides)
    assert told.config.pricing.unknown == "refuse"
    assert "SIMULATED" in "\n".join(told.notices)


@pytest.mark.parametrize("engine", VENDORS)
def test_a_vendors_key_makes_it_reachable_at_its_own_address(engine: str) -> None:
    told = found({VENDORS[engine].variable: CANARY})
    assert set(told.config.providers) == {engine, "simulated"}
    provider = told.config.providers[engine]
    assert isinstance(provider, OpenAIProvider)
    assert provider.api_key is not None
    assert (provider.base_url, provider.api_key.reveal()) == (ENGINES[engine].base_url, CANARY)
    assert targets(told, f"{engine}/*") == [f"{engine}/*"]
    assert told.config.pricing.unknown == "refuse"
    assert CANARY not in repr((told.notices, told.config, effective(told.config)))


def test_plain_names_of_a_vendor_need_no_prefix() -> None:
    told = found({"OPENAI_API_KEY": CANARY, "MISTRAL_API_KEY": CANARY})
    assert targets(told, "gpt-*") == ["openai/gpt-*"]
    assert targets(told, "o3") == ["openai/o3"]
    assert targets(told, "codestral-*") == ["mistral/codestral-*"]


def test_no_two_vendors_claim_one_plain_name() -> None:
    plain = [start for vendor in VENDORS.values() for start in vendor.plain]
    assert len(set(plain)) == len(plain)
    assert set(VENDORS) | set(ENGINE_PORTS.values()) <= set(ENGINE_NAMES)


def test_an_empty_key_is_none() -> None:
    assert "simulated" in found({"OPENAI_API_KEY": ""}).config.providers


def test_engines_answer_for_the_models_they_list_without_a_price() -> None:
    told = found(engines={8000: ("qwen3", "bad name", "x*"), 11434: ("qwen3", "llama3:8b")})
    assert targets(told, "qwen3") == ["vllm/qwen3", "ollama/qwen3"]
    assert targets(told, "llama3:8b") == ["ollama/llama3:8b"]
    always = {"simulated/*", "sim-small", "sim-large"}
    assert set(told.config.models) == {"vllm/*", "ollama/*", "qwen3", "llama3:8b"} | always
    assert told.config.pricing.unknown == "allow"
    assert "unpriced" in "\n".join(told.notices)


def test_an_engine_that_lists_thousands_fills_no_memory() -> None:
    told = found(engines={8000: tuple(f"m{number}" for number in range(5000))})
    assert len(told.config.models) == 257 + 3


def test_the_gate_makes_room_for_an_engine_on_its_own_port() -> None:
    assert found(engines={8000: ()}).config.server.port == 8080
    assert found(engines={8080: ("m",)}).config.server.port == 8088
    assert found({}, {8080: ("m",)}, **{"server.port": 9000}).config.server.port == 9000


def test_anthropics_key_is_named_and_not_used() -> None:
    told = found({"ANTHROPIC_API_KEY": CANARY})
    assert set(told.config.providers) == {"simulated"}
    assert any("ANTHROPIC_API_KEY" in notice and "not available in this version" in notice for notice in told.notices)
    assert CANARY not in repr(told)


def test_the_gates_own_secrets_come_from_the_environment() -> None:
    told = found({"HEADGATE_KEY": CANARY, "HEADGATE_ADMIN_TOKEN": CANARY + "t"}, None, **{"server.host": "0.0.0.0"})
    ((key, record),) = told.config.configured_keys()
    assert (key.reveal(), record.agent) == (CANARY, None)
    assert told.config.admin.token is not None
    assert CANARY not in repr((told, effective(told.config)))


def test_beyond_loopback_it_still_needs_a_key() -> None:
    with pytest.raises(ConfigError, match="needs keys"):
        found({}, None, **{"server.host": "0.0.0.0"})


def test_a_key_that_no_header_can_carry_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError) as refused:
        found({"OPENAI_API_KEY": CANARY + "\n"})
    assert str(refused.value) == (
        "headgate up providers.openai.api_key: Input should be printable ASCII without blanks around it"
    )


def test_every_value_says_what_it_was_found_by() -> None:
    told = {setting.path: setting.origin for setting in effective(found({"XAI_API_KEY": "k"}, {8080: ("m",)}).config)}
    assert told["providers.xai.api_key"] == "environment XAI_API_KEY"
    assert told["models.m.targets.0.model"] == "found on port 8080"
    assert told["server.port"] == "port 8080 is taken"
    assert told["server.host"] == "default"
