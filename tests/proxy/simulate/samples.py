"""A small trace and small configurations to play it under."""

from __future__ import annotations

import json
from pathlib import Path

from loadtests.replay.recorded import Asked, Run
from proxy.config.file import Document
from proxy.config.load import build
from proxy.config.schema import Config
from proxy.config.tree import Value

SMALL_PRICE = {"input_usd_per_mtok": "1", "input_cached_usd_per_mtok": "0.1", "output_usd_per_mtok": "2"}
LARGE_PRICE = {"input_usd_per_mtok": "10", "input_cached_usd_per_mtok": "1", "output_usd_per_mtok": "20"}


def asked(tokens: int = 2_048, *, scope: str = "r", model: str = "m", think_s: float = 1.0) -> Asked:
    return Asked(model, tokens, 100, think_s, scope, 64, ((0, tokens // 64 - 1),))


def runs(count: int = 10, steps: int = 4, *, model: str = "m") -> list[Run]:
    """Prompts that grow by 512 tokens a step."""
    return [
        Run(f"r{number}", 5.0 * number, tuple([_step(number, step, model) for step in range(steps)]))
        for number in range(count)
    ]


def _step(number: int, step: int, model: str) -> Asked:
    return asked(2_048 + 512 * step, scope=f"r{number}", model=model)


def values(models: dict[str, Value]) -> dict[str, Value]:
    return {
        "providers": {
            "a": {"kind": "openai", "base_url": "http://127.0.0.1:1/v1"},
            "b": {"kind": "openai", "base_url": "http://127.0.0.1:2/v1"},
        },
        "models": models,
        "pricing": {"overrides": {"a/small": dict(SMALL_PRICE), "b/large": dict(LARGE_PRICE)}},
    }


def config(**models: Value) -> Config:
    return build(Document("test", values(models or {"m": "b/large"}), {}), {})


def written(file: Path, **models: Value) -> Path:
    file.write_text(json.dumps(values(models or {"m": "b/large"})))
    return file
