"""What becomes of each setting of a LiteLLM proxy."""

from __future__ import annotations

import pytest

from proxy.cli.litellm_config import BALANCE_OF, ENGINE_OF, LeftOut, translated
from proxy.config.file import Document
from proxy.config.load import build
from proxy.config.tree import Value
from proxy.providers.engines import ENGINES
from proxy.types import Balance

Block = dict[str, Value]
OPENAI: Block = {"model_name": "small", "litellm_params": {"model": "openai/gpt-4o-mini"}}


def entry(name: str = "small", **params: Value) -> Block:
    return {"model_name": name, "litellm_params": {"model": "openai/gpt-4o-mini", **params}}


def one(**params: Value) -> tuple[Block, list[LeftOut]]:
    found = translated({"model_list": [entry(**params)]})
    return found.configuration, found.left_out


def test_a_deployment_is_a_provider_and_a_target() -> None:
    made, left = one(api_key="os.environ/MY_KEY", rpm=5, weight=3, max_parallel_requests=7)
    assert made["providers"] == {"openai": {"kind": "openai", "engine": "openai", "api_key": "${MY_KEY}"}}
    target = {"provider": "openai", "model": "gpt-4o-mini", "rpm": 5, "weight": 3, "concurrency": 7}
    assert made["models"] == {"small": {"targets": [target]}}
    assert left == []


def test_deployments_of_one_name_are_targets_of_one_model_and_accounts_are_told_apart() -> None:
    entries = [entry(api_key="os.environ/A"), entry(api_key="os.environ/B"), entry("large", api_key="os.environ/A")]
    made = translated({"model_list": [*entries]}).configuration
    models, providers = made["models"], made["providers"]
    assert isinstance(models, dict) and isinstance(providers, dict)
    assert list(providers) == ["openai", "openai-2"]
    assert models["small"] == {"targets": [
        {"provider": "openai", "model": "gpt-4o-mini"}, {"provider": "openai-2", "model": "gpt-4o-mini"},
    ]}  # fmt: skip
    assert models["large"] == {"targets": [{"provider": "openai", "model": "gpt-4o-mini"}]}


@pytest.mark.parametrize(
    ("model", "engine", "name"),
    [
        ("gpt-4o", "openai", "gpt-4o"),
        ("azure/dep", "azure", "dep"),
        ("hosted_vllm/org/m", "vllm", "org/m"),
        ("together_ai/a/b", "together", "a/b"),
        ("groq/*", "groq", "*"),
        ("ollama_chat/qwen", "ollama", "qwen"),
    ],
)
def test_a_models_first_part_is_its_engine(model: str, engine: str, name: str) -> None:
    made, _ = one(model=model, api_base="http://h/v1/")
    providers, models = made["providers"], made["models"]
    assert isinstance(providers, dict) and isinstance(models, dict)
    account = providers[engine]
    assert isinstance(account, dict) and account["base_url"] == "http://h/v1"
    assert models["small"] == {"targets": [{"provider": engine, "model": name}]}


def test_all_engines_exist() -> None:
    assert set(ENGINE_OF.values()) <= set(ENGINES)
    assert set(BALANCE_OF.values()) <= set(Balance.__args__)  # type: ignore[attr-defined]


@pytest.mark.parametrize("model", ["anthropic/claude", "bedrock/x", "claude-3"])
def test_what_nobody_here_can_speak_to_is_named(model: str) -> None:
    made, left = one(model=model, api_key="sk-secret")
    assert made == {}
    assert [each.setting for each in left] == ["model_list.0 (small)"]
    assert "secret" not in str(left)


def test_no_secret_is_copied() -> None:
    found = translated({"model_list": [entry(api_key="sk-secret")], "general_settings": {"master_key": "sk-master"}})
    assert "sk-" not in str(found)
    assert found.configuration["keys"] == [{"key": "${HEADGATE_KEY}", "agent": "any"}]
    assert found.left_out[0].why.endswith("put it into the environment as OPENAI_API_KEY")


def test_prices_sizes_and_unknown_settings() -> None:
    params = {"input_cost_per_token": "1e-06", "output_cost_per_token": 0.0000025, "organization": "o"}
    given: Block = {**entry(**params), "model_info": {"max_input_tokens": 128, "id": "x", "base_model": "y"}}
    found = translated({"model_list": [given], "strange": 1})
    price = {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2.5"}
    assert found.configuration["pricing"] == {"overrides": {"openai/gpt-4o-mini": price}}
    assert "'context_tokens': 128" in str(found.configuration["models"])
    settings = {each.setting for each in found.left_out}
    assert settings == {"model_list.0.litellm_params.organization", "model_list.0.model_info.base_model", "strange"}


def test_what_holds_for_all_is_taken_the_routers_word_last() -> None:
    settings: Block = {
        "num_retries": 9,
        "request_timeout": 60,
        "fallbacks": [{"small": ["large", "gone"]}, {"gone": ["small"]}],
        "context_window_fallbacks": [{"small": ["large"]}],
        "content_policy_fallbacks": [{"large": ["small"]}],
        "cache": True,
        "cache_params": {"type": "redis", "ttl": 600, "host": "h"},
        "callbacks": ["langfuse"],
    }
    router: Block = {
        "num_retries": 2,
        "routing_strategy": "latency-based-routing",
        "model_group_alias": {"tiny": "small"},
    }
    models = [entry(api_key="os.environ/A"), entry(api_key="os.environ/B"), entry("large")]
    found = translated({"model_list": [*models], "litellm_settings": settings, "router_settings": router})
    made = found.configuration
    assert made["defaults"] == {
        "retry": {"attempts": 3}, "deadline_s": 60, "cache": {"exact": "on", "ttl_s": 600},
    }  # fmt: skip
    translated_models = made["models"]
    assert isinstance(translated_models, dict)
    small, large = translated_models["small"], translated_models["large"]
    assert isinstance(small, dict) and isinstance(large, dict)
    assert small["fallbacks"] == {"any": ["large"], "context_window": "large"}
    assert large["fallbacks"] == {"content_filter": "small"}
    assert (small["balance"], "balance" in large) == ("lowest_latency", False)
    assert translated_models["tiny"] == small
    assert {each.setting for each in found.left_out} == {
        "fallbacks of gone", "cache_params.host", "litellm_settings.callbacks",
    }  # fmt: skip


def test_fallbacks_for_all_leave_those_with_their_own_alone() -> None:
    settings: Block = {"default_fallbacks": ["large"], "fallbacks": [{"other": ["small"]}]}
    models = [entry(), entry("large"), entry("other")]
    made = translated({"model_list": [*models], "litellm_settings": settings}).configuration["models"]
    assert isinstance(made, dict)
    anys = [model.get("fallbacks") for model in made.values() if isinstance(model, dict)]
    assert anys[0] == {"any": ["large"]}
    assert anys[2] == {"any": ["small"]}


def test_the_translation_is_a_configuration() -> None:
    found = translated(
        {"model_list": [entry(api_key="os.environ/A"), entry(model="hosted_vllm/q", api_base="http://h/v1")]}
    )
    config = build(Document("translation", found.configuration, {}), {})
    assert set(config.models) == {"small"}


@pytest.mark.parametrize("nonsense", [{"model_list": None}, {"model_list": [None, 3, {}]}, {"litellm_settings": [1]}])
def test_nonsense_is_no_crash(nonsense: Block) -> None:
    assert "models" not in translated(nonsense).configuration
