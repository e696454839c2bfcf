from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pricing.gpu import GpuRate
from proxy.config.providers import ENGINE_NAMES, KINDS, Gpu, OpenAIProvider, SimulatedProvider
from proxy.providers.engines import ENGINES
from proxy.secret import Secret


def openai(**fields: Any) -> OpenAIProvider:
    return OpenAIProvider.model_validate({"kind": "openai", **fields})


def test_a_vendor_needs_only_its_key() -> None:
    provider = openai(engine="groq", api_key="k")
    assert provider.base_url == ENGINES["groq"].base_url
    assert provider.api_key == Secret("k")


@pytest.mark.parametrize("engine", [name for name in ENGINE_NAMES if ENGINES[name].base_url is None])
def test_an_engine_without_an_address_of_its_own_needs_one(engine: str) -> None:
    with pytest.raises(ValidationError, match="base_url is needed"):
        openai(engine=engine, api_key="k")
    assert openai(engine=engine, base_url="http://127.0.0.1:8000/v1").api_key is None


@pytest.mark.parametrize("engine", [name for name in ENGINE_NAMES if ENGINES[name].base_url])
def test_no_key_goes_to_a_vendor_it_was_not_written_for(engine: str) -> None:
    provider = openai(engine=engine, api_key="k", base_url="http://127.0.0.1/v1")
    assert provider.base_url == "http://127.0.0.1/v1"
    for key in ({}, {"api_key": None}, {"api_key": ""}):
        with pytest.raises(ValidationError, match="api_key is needed"):
            openai(engine=engine, **key)


def test_an_address_left_empty_is_the_vendors() -> None:
    assert openai(api_key="k", base_url=None).base_url == "https://api.openai.com/v1"


def test_an_unknown_engine_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValidationError, match=r"Input should be one of azure, .*vllm"):
        openai(engine="vlm", base_url="http://x/")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"connect_timeout_s": 11}, "less than or equal to 10"),
        ({"connect_timeout_s": "2"}, "valid number"),
        ({"abort": "maybe"}, "'stops', 'continues' or 'unknown'"),
        ({"api_version": "2024&x=1"}, "match pattern"),
        ({"unheard_of": 1}, "Extra inputs"),
    ],
)
def test_fields_have_bounds(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        openai(api_key="k", **fields)


def test_a_simulation_needs_nothing_and_is_calm_by_default() -> None:
    provider = SimulatedProvider.model_validate({"kind": "simulated"})
    assert (provider.stall_share, provider.cut_share, provider.error_share) == (0, 0, {})


def test_every_kind_is_listed_under_its_own_name() -> None:
    for kind, block in KINDS.items():
        assert block.model_fields["kind"].annotation.__args__ == (kind,)  # type: ignore[union-attr]


def test_gpus_of_ones_own_have_a_price_by_the_hour() -> None:
    fields: dict[str, Any] = {"engine": "vllm", "base_url": "http://10.0.0.11:8000/v1"}
    assert openai(**fields).gpu is None
    gpu = openai(**fields, gpu={"usd_per_hour": "2.50", "gpus": 2, "idle": "spread"}).gpu
    assert gpu is not None
    assert gpu.rate == GpuRate(2_500_000_000, 2, spread_idle=True)
    assert Gpu(usd_per_hour="1").rate == GpuRate(1_000_000_000)
    for wrong in ({}, {"usd_per_hour": "free"}, {"usd_per_hour": "1", "gpus": 0}, {"usd_per_hour": "1", "idle": "x"}):
        with pytest.raises(ValidationError):
            openai(**fields, gpu=wrong)


@pytest.mark.parametrize("health", ["auto", "off", "/health", "/ready?deep=0"])
def test_its_health_has_a_path_or_is_not_asked_for(health: str) -> None:
    assert openai(engine="vllm", base_url="http://127.0.0.1/v1", health=health).health == health


@pytest.mark.parametrize("health", ["health", "http://elsewhere/health", "/a b", "/", ""])
def test_its_health_is_asked_nowhere_else(health: str) -> None:
    with pytest.raises(ValidationError, match="a path that begins with /"):
        openai(engine="vllm", base_url="http://127.0.0.1/v1", health=health)
