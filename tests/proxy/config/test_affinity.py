"""Where calls follow their prompts: on without a word, and what is said of an engine reaches its targets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from proxy.assembly import Assembly
from proxy.clock import SystemClock
from proxy.config.affinity import PrefixAffinity
from proxy.config.load import load
from proxy.types import Traits

ENGINE = {"kind": "openai", "engine": "vllm", "base_url": "http://127.0.0.1:9/v1"}
VENDOR = {"kind": "openai", "engine": "openai", "api_key": "k"}


def traits(folder: Path, provider: Mapping[str, object]) -> Traits:
    file = folder / "headgate.json"
    values = {
        "data_dir": str(folder / "data"),
        "providers": {"p": provider},
        "models": {"m": "p/x"},
        "pricing": {"unknown": "allow"},
    }
    file.write_text(json.dumps(values))
    (target,) = Assembly(load(file, {}), SystemClock(1)).present.metered
    return target.traits


def test_calls_follow_their_prompts_and_there_is_one_gate() -> None:
    assert PrefixAffinity() == PrefixAffinity(enabled=True, several_gates=False)


@pytest.mark.parametrize(
    ("provider", "keeps"),
    [
        (ENGINE, True),
        (ENGINE | {"engine": "ollama"}, True),
        (ENGINE | {"prefix_cache": False}, False),
        (VENDOR, False),
        (VENDOR | {"prefix_cache": True}, True),
        ({"kind": "simulated"}, False),
    ],
)
def test_engines_of_ones_own_keep_prompts(tmp_path: Path, provider: Mapping[str, object], keeps: bool) -> None:
    assert traits(tmp_path, provider).prefix_cache is keeps


def test_what_an_engine_holds_is_known_of_its_targets(tmp_path: Path) -> None:
    assert traits(tmp_path, ENGINE).kv_tokens is None
    assert traits(tmp_path, ENGINE | {"kv_tokens": 600_000}).kv_tokens == 600_000
