"""A reload leaves a gate that is as one that was started with the new file, or says in the log what needs a restart.

Every leaf of the configuration is changed, one at a time. Two gates are compared by all that can be reached from them,
but for what learns, counts and is kept over a reload on purpose.
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MethodType
from typing import Any

import pytest
from msgspec import Struct
from pydantic import BaseModel

from docs.generate import config_fields
from proxy.app import Gate
from proxy.clock import SystemClock, loop_time
from proxy.config.load import load
from proxy.secret import Secret
from tests.real.processes import free_port

UNITS = ("usd", "tokens", "requests", "steps", "concurrency")
BUDGET = [
    {"usd": 10, "per": "day", "time_zone": "UTC", "hold": "estimated", "soft": False},
    {"tokens": 9, "per": "hour"},
    {"requests": 9, "per": "hour"},
    {"steps": 9, "per": "run"},
    {"concurrency": 9},
]
PACED = {"rpm": 60, "tpm": 6_000, "concurrency": 5}
GPU = {"usd_per_hour": 2, "gpus": 1, "idle": "ops"}
RULES = {
    **PACED,
    "deadline_s": 100,
    "first_token_timeout_s": 20,
    "idle_timeout_s": 20,
    "on_cut": "error",
    "hold_tokens": 8,
    "retry": {"attempts": 2, "budget": 0.1},
    "hedge": True,
    "run": {"seconds": 100, "width": 5, "depth": 3, "at_limit": "error"},
    "loops": {"mode": "on", "polling": ["wait"]},
    "content": "redacted",
    "cache": {
        "exact": "deterministic",
        "ttl_s": 100,
        "stale_s": 10,
        "scope": "agent",
        "replay": "keyed",
        "semantic": {
            "model": "n",
            "max_error": 0.01,
            "ttl_s": 100,
            "dimensions": 32,
            "timeout_ms": 100,
            "judge": "n",
            "judge_budget": "1",
        },
    },
    "on_budget": ["cheaper"],
    "priority": "standard",
    "batch": {"window_s": 1_000},
}
PRICE = dict.fromkeys(
    (
        *("input_usd_per_mtok", "output_usd_per_mtok", "input_cached_usd_per_mtok"),
        *("input_cache_write_5m_usd_per_mtok", "input_cache_write_1h_usd_per_mtok", "input_audio_usd_per_mtok"),
        *("input_image_usd_per_mtok", "reasoning_usd_per_mtok", "output_audio_usd_per_mtok", "call_usd"),
        *("long_context_above_tokens", "long_context_input_usd_per_mtok", "long_context_output_usd_per_mtok"),
        "long_context_input_cached_usd_per_mtok",
    ),
    1,
)
TARGET = {"context_tokens": 9_000, "output_tokens_max": 900, "reasoning_tokens_max": 9, "weight": 2, "order": 1}
SPREAD = {"median": 1, "sigma": 0.25}
OPENAI = {
    "kind": "openai",
    "engine": "vllm",
    "api_key": "sk-one",
    "base_url": "http://127.0.0.1:9/v1",
    "headers": {"X-Org": "one"},
    "abort": "stops",
    "stream_usage": True,
    "price_provider": "openai",
    "traceparent": False,
    "deadline_header": False,
    "adaptive": True,
    "health": "auto",
    "health_checks": False,
    "prefix_cache": True,
    "prompt_cache": "on",
    "kv_tokens": 100_000,
    "connect_timeout_s": 1,
    "failure_domain": "one",
    **PACED,
}
SIMULATED = {
    "kind": "simulated",
    "seed": 1,
    **dict.fromkeys(("first_token_s", "token_s", "output_tokens"), SPREAD),
    **dict.fromkeys(("stall_share", "cut_share"), 0.25),
    "stall_s": 1,
    "error_share": {"500": 0.25},
    "failure_domain": "one",
    **PACED,
}
BASE: dict[str, Any] = {
    "server": {"host": "127.0.0.1", "port": 0, "workers": 1, "max_body_mb": 4},
    "admin": {"host": "127.0.0.1", "port": 0, "token": "secret-token-of-some-length", "hosts": ["gate.example.org"]},
    "keys": [
        {"key": "a-key-of-some-length-1", "agent": "a", "team": "core", "models": ["m"], "budget": BUDGET, **PACED}
    ],
    "providers": {
        "openai": OPENAI,
        "azure": {
            "kind": "openai",
            "engine": "azure",
            "base_url": "https://a.invalid",
            "api_key": "k",
            "api_version": "1",
        },
        "own": {"kind": "openai", "engine": "vllm", "base_url": "http://127.0.0.1:9/v1", "gpu": GPU},
        "simulated": SIMULATED,
        "simulated-gpu": {"kind": "simulated", "gpu": GPU},
    },
    "models": {
        "m": {
            "mode": "single",
            "targets": [{"provider": "openai", "model": "real", **TARGET, **PACED}, "own/real", "simulated-gpu/x"],
            "balance": "score",
            "cheaper": "n",
            "fallbacks": {"context_window": "n", "content_filter": "n", "overload": "n", "any": ["n"]},
            "gate": {"share": 0.5, "runs": 8, "idle_s": 60, "waiting_max": 9},
        },
        "n": "simulated/sim",
        "o": "azure/a",
        "smart": {
            "mode": "cascade",
            "steps": ["n", "o"],
            "accept": ["regex"],
            "pattern": "a",
            "on_no_money": "best",
            "revise": "same",
            "agree": {"model": "n", "samples": 1},
            "judge": {"model": "n", "rubric": "x", "budget": 1, "least": 0.5, "timeout_s": 5},
            "verify": {"url": "http://127.0.0.1:9/x", "timeout_s": 5},
            "max_loss": 0.1,
            "shadow": 0.1,
            "shadow_budget": "1",
            "dear_share": 0.5,
            "sticky": True,
        },
        "held": {"mode": "cascade", "steps": ["n", "o"], "hold": 9},
        "panel": {"mode": "quorum", "members": ["n", "o"], "ask": 3, "rule": 2, "answer": {"take": "text"}},
        "pattern": {"mode": "quorum", "members": ["n", "o"], "answer": {"regex": "a"}},
        "council": {
            "mode": "debate",
            "members": ["n", "o"],
            "answer": {"json_path": "a"},
            "rounds": 2,
            "max_cost_ratio": 10.0,
        },
        "between": {
            "experiment": {"control": "n", "candidate": "o", "share": 0.5, "unit": "run", "shadow_budget": "1"},
        },
    },
    "defaults": {**RULES, "budget": BUDGET},
    "teams": {"core": {"budget": BUDGET}},
    "budgets": {"wait_s": 1, "waiting_max": 9, "overrun_tolerance_usd": "0"},
    "ledger": {"strict": False},
    "hedging": {"budget": 0.1, "bimodal_budget": 0.2, "run_max": 2},
    "caches": {
        **dict.fromkeys(("memory_mb", "entry_max_kb", "disk_mb", "replay_mb", "replay_ttl_s", "semantic_mb"), 9),
        "persist": True,
    },
    "batches": dict.fromkeys(("file_mb", "files_mb", "days", "lines_max", "concurrency"), 9),
    "shared": {"redis": "redis://:one@127.0.0.1:9/0", "gates": 2, "prefix": "one", "timeout_ms": 9},
    "affinity": {"enabled": True, "several_gates": False},
    "agents": {"a": {**RULES, "retry": {"attempts": 2}, "budget": BUDGET, "models": ["m"]}},
    "pricing": {"unknown": "refuse", "overrides": {"openai/real": PRICE, "simulated/sim": PRICE}},
    "telemetry": {
        "content": {"days": 7, "max_mb": 99, "mask": ["mail"], "on_spans": False},
        "log_calls": "all",
        "log_format": "auto",
        "otlp": {"url": "http://127.0.0.1:9", "headers": {"X-Org": "one"}, "share": 0.5, "profile": ["genai"]},
    },
    "limits": {
        **dict.fromkeys(("connections_max", "head_timeout_s", "body_timeout_s", "body_bytes_per_s"), 9),
        **dict.fromkeys(("write_timeout_s", "keepalive_s", "heartbeat_s", "stop_pause_s", "drain_s"), 9),
        **dict.fromkeys(("queue_wait_s", "queue_max", "reply_max_mb", "join_mb"), 9),
    },
}
MODELS = {  # that have these fields
    **dict.fromkeys(("members", "ask", "rule", "take"), "panel"),
    "regex": "pattern",
    **dict.fromkeys(("steps", "accept", "pattern", "on_no_money", "revise", "agree", "judge", "verify"), "smart"),
    **dict.fromkeys(("max_loss", "shadow", "shadow_budget", "dear_share", "sticky"), "smart"),
    "hold": "held",
    "experiment": "between",
    **dict.fromkeys(("json_path", "rounds", "max_cost_ratio"), "council"),
}
WHERE = {"keys": 0, "models": "m", "teams": "core", "agents": "a", "overrides": "openai/real", "targets": 0}
TEXTS: dict[str, Any] = {
    "admin.host": "127.0.0.2",
    "server.host": "127.0.0.2",
    "agent": "any",
    "team": "other",
    "idle": "spread",
    "key": "another-key-of-some-length",
    "token": "another-token-of-some-length",
    "time_zone": "Europe/Berlin",
    "per": "week",
    "hold": "strict",
    "engine": "sglang",
    "api_key": "sk-two",
    "api_version": "2",
    "model": "other",
    "base_url": "http://127.0.0.1:8/v1",
    "abort": "continues",
    "price_provider": "groq",
    "health": "/ready",
    "failure_domain": "two",
    "provider": "azure",
    "cheaper": "o",
    "priority": "batch",
    "on_cut": "continue",
    "unknown": "allow",
    "hosts": ["other.example.org"],
    "models": ["n"],
    "on_budget": ["shorter"],
    "headers": {"X-Org": "two"},
    "error_share": {"503": 0.5},
    "balance": "ordered",
    "log_calls": "failures",
    "log_format": "json",
    "overrun_tolerance_usd": "5",
    "context_window": "o",
    "content_filter": "o",
    "overload": "o",
    "any": ["o"],
    "members": ["o", "o"],
    "models.*.steps": ["o", "n"],
    "accept": ["regex", "finished"],
    "pattern": "b",
    "models.*.hold": 20,
    "on_no_money": "error",
    "revise": "next",
    "models.*.agree.model": "o",
    "models.*.experiment.control": "smart",
    "models.*.experiment.candidate": "smart",
    "unit": "agent",
    "models.*.judge.model": "o",
    "rubric": "y",
    "url": "http://127.0.0.1:8/x",
    "take": "last_line",
    "regex": "b",
    "json_path": "b",
    "depth": 2,
    "at_limit": "best",
    "polling": ["status"],
    "workers": 2,
    "prompt_cache": "retain",
    "exact": "on",
    "scope": "team",
    "replay": "run",
    "judge": "o",
    "judge_budget": "2",
    "defaults.cache.semantic.model": "o",
    "agents.*.cache.semantic.model": "o",
    "profile": ["langfuse"],
    "mask": ["phone"],
    "defaults.content": "digest",
    "agents.*.content": "digest",
    "shadow_budget": "2",
    "redis": "redis://:two@127.0.0.1:9/0",
    "prefix": "two",
}
ONE_VALUE = {"kind", "mode", "content"}  # that this version knows
SEPARATE = {"data_dir", "pricing.table"}  # need another folder, or a file
UNSEEN = {"limits.stop_pause_s"}  # asked of the configuration in force at the moment of use
# What learns, counts, or is kept over a reload on purpose: metrics keep series, simulations their names of requests.
KEPT = {"metrics", "_metrics", "log", "ledger", "tasks", "tools", "book", "_book", "_own", "_born", "_books", "_clock"}
KEPT |= {
    "_listener",
    "_around",
    "_witness",
    "recorded",
    "clock",
    "desk",
    "gpus",
    "gpu",
    "assembly",
    "_load",
    "keeper",
    "steering",
    "_steering",
    "transport",
    "runs",
}
pytestmark = pytest.mark.slow  # two gates for each setting

OURS = ("proxy.", "policies.", "pricing.")
BESIDE = ("proxy.app", "proxy.telemetry", "proxy.state", "proxy.tasks")  # nothing there is set by the configuration


def paths() -> list[tuple[str, str | None]]:
    found = [(field.path, field.kind) for field in config_fields()]
    inner = {path.rpartition(".")[0].removesuffix(".*") for path, _ in found}
    leaves = [(path, kind) for path, kind in found if path not in inner and path not in SEPARATE]
    return [(path, kind) for path, kind in leaves if path.rpartition(".")[2] not in ONE_VALUE]


def changed(path: str, kind: str | None) -> dict[str, Any]:
    whole = copy.deepcopy(BASE)
    parts = path.split(".")
    block: Any = whole
    for at, part in enumerate(parts[:-1]):
        block = block[_place(parts, at, kind)] if part == "*" else block[part]
    name = parts[-1]
    assert name in block, f"{path} has no value in BASE"
    text = free_port() if name == "port" else TEXTS.get(path, TEXTS.get(name))
    block[name] = text if text is not None else _other(block[name], name)
    return whole


def _place(parts: list[str], at: int, kind: str | None) -> int | str:
    if parts[at - 1] == "providers":
        if kind == "openai":
            return {"gpu": "own", "api_version": "azure"}.get(parts[at + 1], "openai")
        return "simulated-gpu" if parts[at + 1] == "gpu" else "simulated"
    if parts[at - 1] == "budget":
        return UNITS.index(parts[at + 1]) if parts[at + 1] in UNITS else 0
    if parts[at - 1] == "models" and (parts[-1] in MODELS or parts[at + 1] in MODELS):
        return MODELS.get(parts[at + 1]) or MODELS[parts[-1]]
    return WHERE[parts[at - 1]]


def _other(value: object, name: str) -> object:
    if isinstance(value, bool):
        return not value
    assert isinstance(value, int | float), f"{name} needs another value in TEXTS"
    return value / 2 if isinstance(value, float) else value + 1


class Kept(io.BytesIO):
    """A log that can be read when it was closed."""

    def close(self) -> None:
        self.flush()


class Bench:
    """Gates out of one folder, one after another."""

    said: Kept  # by the last one

    def __init__(self, folder: Path) -> None:
        self.file = folder / "headgate.json"
        self.folder = folder / "data"
        self.count = 0

    def gate(self, values: dict[str, Any]) -> Gate:
        self.count += 1
        self.write(values)
        self.said = Kept()
        return Gate(self.load(), self.load, SystemClock(1, now=loop_time), log_to=self.said)

    def write(self, values: dict[str, Any]) -> None:
        self.file.write_text(json.dumps(values | {"data_dir": str(self.folder / str(self.count))}))

    def load(self) -> Any:
        return load(self.file, {})


def shape(of: object) -> dict[str, object]:
    """All values that can be reached, by the way to them."""
    return dict(_walk(of, "", {}))


def _walk(of: object, way: str, seen: dict[int, object]) -> Iterator[tuple[str, object]]:
    if isinstance(of, str | bytes | int | float | None):
        yield way, of
        return
    if isinstance(of, Secret):
        yield way, of.digest()
        return
    if id(of) in seen:
        return
    seen[id(of)] = of
    for name, value in _inside(of):
        if name not in KEPT:
            yield from _walk(value, f"{way}.{name}", seen)


def _inside(of: object) -> Iterator[tuple[str, object]]:
    if isinstance(of, Mapping):
        yield from ((repr(key), value) for key, value in of.items())
    elif isinstance(of, set | frozenset):
        yield from ((repr(value), value) for value in of)
    elif isinstance(of, list | tuple):
        yield from ((str(at), value) for at, value in enumerate(of))
    elif isinstance(of, partial):
        yield from (("func", of.func), ("args", of.args))
    elif isinstance(of, MethodType):
        yield "self", of.__self__
    elif isinstance(of, BaseModel):
        yield from ((name, getattr(of, name)) for name in type(of).model_fields)
    elif type(of).__module__.startswith(OURS) and not type(of).__module__.startswith(BESIDE):
        names = of.__struct_fields__ if isinstance(of, Struct) else _attributes(of)
        yield from ((name, getattr(of, name)) for name in names if hasattr(of, name))


def _attributes(of: object) -> list[str]:
    slots = [name for each in type(of).__mro__ for name in getattr(each, "__slots__", ())]
    return [*slots, *getattr(of, "__dict__", {})]


def running(gate: Gate) -> dict[str, object]:
    """What calls meet: all that the assembly has made, and what was made beside it at the start."""
    present = gate.assembly.present
    rates = {name: each.gpu.rate for name, each in present.snapshot.providers.items() if each.gpu is not None}
    return shape((present, gate._serving, gate.budgets, rates, gate.log.calls))


@pytest.mark.parametrize(("path", "kind"), paths(), ids=lambda value: value or "any")
async def test_every_setting_is_applied_or_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, kind: str | None
) -> None:
    monkeypatch.setenv("HEADGATE_PEPPER", "of any folder alike")  # else keys have other names in each
    bench, base, other = Bench(tmp_path), BASE, changed(path, kind)
    fresh, reloaded = bench.gate(other), bench.gate(base)
    before = running(reloaded)
    bench.write(other)
    assert await reloaded.reload() is None
    after, wanted = running(reloaded), running(fresh)
    differing = {way for way in after.keys() | wanted.keys() if after.get(way) != wanted.get(way)}
    differing -= {way for way in differing if ".version" in way}  # it names the folder too, which is another
    reloaded.log.close()
    announced = b'"restart needed"' in bench.said.getvalue()
    assert announced or not differing, f"{path} is not applied: {sorted(differing)[:5]}"
    seen = {way for way in before if before[way] != wanted.get(way, before) and ".version" not in way}
    assert announced or seen or path in UNSEEN, f"nobody can see {path}"
    for gate in (fresh, reloaded):  # hundreds of them would leave thousands of open files
        await gate.stop()
