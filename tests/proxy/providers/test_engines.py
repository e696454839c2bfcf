from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from proxy.providers.engines import ENGINES, PATHS

OWN = ("vllm", "sglang", "tgi", "llamacpp", "ollama", "lmstudio")


@pytest.mark.parametrize("name", ENGINES)
def test_every_row_can_be_used(name: str) -> None:
    engine = ENGINES[name]
    assert "chat" in engine.serves <= set(PATHS)
    if engine.base_url is not None:
        parts = urlsplit(engine.base_url)
        assert (parts.scheme, parts.query) in {("https", ""), ("http", "")}
        assert (parts.scheme == "https") == (name != "simulated")
        assert not engine.base_url.endswith("/")


@pytest.mark.parametrize("name", OWN)
def test_an_engine_of_ones_own_stops_with_its_client_and_sends_no_bill(name: str) -> None:
    assert (ENGINES[name].abort, ENGINES[name].price_provider, ENGINES[name].base_url) == ("stops", None, None)


def test_no_vendor_is_trusted_to_stop_the_bill() -> None:
    vendors = [engine for name, engine in ENGINES.items() if name not in (*OWN, "simulated")]
    assert {engine.abort for engine in vendors} == {"unknown"}


@pytest.mark.parametrize(
    ("model", "vocabulary"),
    [
        ("gpt-4o-mini", "o200k_base"),
        ("gpt-5", "o200k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("llama-3", None),
    ],
)
def test_the_traits_of_a_model_name_the_vocabulary_that_counts_it(model: str, vocabulary: str | None) -> None:
    assert ENGINES["openai"].traits(model).vocabulary == vocabulary


def test_a_vendor_that_refuses_unknown_fields_is_not_asked_for_usage() -> None:
    assert not ENGINES["mistral"].traits("mistral-small").stream_usage
    assert ENGINES["vllm"].traits("qwen").stream_usage


def test_only_engines_of_ones_own_are_measured_by_how_soon_they_answer() -> None:
    assert {name for name, engine in ENGINES.items() if engine.adaptive} == set(OWN)
