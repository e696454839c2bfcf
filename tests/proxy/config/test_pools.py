"""Which pools have a gate, and how much memory stands behind them."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.plan import Routes
from policies.run_gate import GateRules
from proxy.config.error import ConfigError
from proxy.config.load import load
from proxy.config.pools import pools
from proxy.execution.gate_desk import Pool
from proxy.targets import Targets, prices_of, routes_of

BASE = """
providers:
  gpu-a: {kind: openai, engine: vllm, base_url: "http://127.0.0.1:1/v1", kv_tokens: 600000}
  gpu-b: {kind: openai, engine: vllm, base_url: "http://127.0.0.1:2/v1", kv_tokens: 400000}
  gpu-c: {kind: openai, engine: vllm, base_url: "http://127.0.0.1:3/v1"}
models:
  plain: gpu-c/plain
"""


def made(folder: Path, models: str) -> tuple[Pool, ...]:
    file = folder / "headgate.yaml"
    file.write_text(BASE + models)
    config = load(file, {})
    routes: Routes = routes_of(config, Targets(config, prices_of(config, "2026-11-22")))
    return pools(config, routes)


def test_a_model_without_the_block_has_none(tmp_path: Path) -> None:
    assert made(tmp_path, "") == ()


def test_the_memory_of_a_pool_is_that_of_its_engines_each_once(tmp_path: Path) -> None:
    (pool,) = made(tmp_path, "  m: {targets: [gpu-a/x, gpu-b/x, gpu-b/lora], gate: {share: 0.5}}\n")
    assert pool == Pool("m", frozenset({"gpu-a/x", "gpu-b/x", "gpu-b/lora"}), 1_000_000, GateRules(share=0.5))


def test_where_one_engines_memory_is_not_known_nothing_is(tmp_path: Path) -> None:
    (pool,) = made(tmp_path, "  m: {targets: [gpu-a/x, gpu-c/x], gate: {}}\n")
    assert pool.kv_tokens is None


@pytest.mark.parametrize(
    ("models", "why"),
    [
        ('  "gpu-a/*": {targets: [{provider: gpu-a, model: "*"}], gate: {}}\n', "targets that are named"),
        ("  s: {mode: cascade, steps: [plain], gate: {}}\n", "targets that are named"),
        (
            "  m: {targets: [gpu-a/x], gate: {}}\n  n: {targets: [gpu-b/x, gpu-a/x], gate: {}}\n",
            "the gate of 'm' looks",
        ),
    ],
)
def test_a_gate_looks_after_named_targets_and_each_target_has_one(tmp_path: Path, models: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        made(tmp_path, models)
