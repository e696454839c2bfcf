"""A gate, its upstream and a real Prometheus that scrapes it each second, all on loopback.

The gate is set up so that one short scenario can touch whatever a panel shows: engines with memory and a clock, models
that fall back, cascades, votes, budgets that are nearly nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from grafana import generate
from tests.real.processes import Process, free_port, request_json, wait_until_ready

Json = dict[str, Any]

USAGE = {
    "prompt_tokens": 1_200,
    "completion_tokens": 40,
    "total_tokens": 1_240,
    "prompt_tokens_details": {"cached_tokens": 800},
    "completion_tokens_details": {"reasoning_tokens": 10},
}
KNOWN_USAGE = {"prompt_tokens": 100_000, "completion_tokens": 25_000, "total_tokens": 125_000}  # $0.40 at these prices
PRICE = {"input_usd_per_mtok": 2, "output_usd_per_mtok": 8}
STREAMED = ["stream", "role", {"tokens": {"n": 8, "interval": 0.01}}, "finish", {"usage": USAGE}, "done", "end"]


def needed(command: str) -> str:
    """Where it is installed; without it the test is skipped, and under CI it fails."""
    found = shutil.which(command)
    if found is None:
        assert not os.environ.get("CI"), f"CI has to have {command}"
        pytest.skip(f"{command} is not installed")
    return found


def whole(usage: Json) -> Json:
    choice = {"index": 0, "message": {"role": "assistant", "content": "four"}, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


SCRIPT = {
    "seed": 7,
    "rules": [
        {"when": {"model": "known"}, "steps": [{"reply": {"body": whole(KNOWN_USAGE)}}]},
        {"when": {"model": "broken"}, "steps": [{"reply": {"status": 500}}]},
        {"when": {"model": "cut", "stream": True}, "steps": ["stream", "role", {"tokens": {"n": 3}}, "close"]},
        {"when": {"contains": "LATE", "every": 2}, "steps": [{"answer": {"tokens": 8, "first": 2.5}}]},
        {"when": {"contains": "LATE"}, "steps": [{"answer": {"tokens": 8, "first": 0.05}}]},
        {"when": {"model": "engine", "stream": True}, "steps": STREAMED},
        {"when": {"model": "engine"}, "steps": [{"wait": 0.02}, {"reply": {"body": whole(USAGE)}}]},
        {"when": {}, "steps": [{"answer": {"tokens": 8, "first": 0.05, "interval": 0.01}}]},
    ],
}


def configuration(folder: Path, port: int, admin_port: int, *, upstream: str, redis: str) -> Json:
    lab = {"kind": "openai", "base_url": upstream, "api_key": "sk-lab", "adaptive": False}
    engine = {"kind": "openai", "engine": "vllm", "base_url": upstream, "health": "off", "kv_tokens": 600_000}
    models = ("chat", "small", "known", "broken", "cut")
    prices = {f"{at}/{model}": PRICE for at in ("lab", "spare") for model in models} | {"gpu-b/engine": PRICE}
    return {
        "server": {"host": "127.0.0.1", "port": port, "max_body_mb": 1},
        "admin": {"host": "127.0.0.1", "port": admin_port},
        "data_dir": str(folder / "data"),
        "shared": {"redis": redis, "gates": 2},
        "providers": {
            "lab": lab,
            "spare": lab,
            "gpu-a": {**engine, "gpu": {"usd_per_hour": "3"}},
            "gpu-b": engine,
        },
        "models": {
            "chat": {"targets": ["lab/chat", "spare/chat"]},
            "small": "lab/small",
            "known": "lab/known",
            "frail": {"targets": ["lab/broken"], "fallbacks": {"any": ["chat"]}},
            "cut": "lab/cut",
            "free": "lab/unheard-of",
            "engine": {"targets": ["gpu-a/engine", "gpu-b/engine"], "gate": {"idle_s": 1}},
            "smart": {"mode": "cascade", "steps": ["small", "chat"]},
            "learned": {"mode": "cascade", "steps": ["small", "chat"], "max_loss": 0.2, "shadow": 0.5},
            "strict": {"mode": "cascade", "steps": ["small", "chat"], "accept": ["regex"], "pattern": "never said"},
            "jury": {"mode": "quorum", "members": ["small", "chat", "small"]},
            "between": {"experiment": {"control": "chat", "candidate": "small"}},
        },
        "agents": {
            "planner": {"budget": [{"usd": "500", "per": "day"}]},
            "poor": {"budget": [{"usd": "0.000001", "per": "day"}]},
            "single": {"concurrency": 1},
            "cached": {"cache": {"exact": "on"}},
        },
        "hedging": {"budget": 0.5, "bimodal_budget": 0.5},
        "pricing": {"unknown": "allow", "overrides": prices},
    }


class Stage:
    def __init__(self, folder: Path) -> None:
        self._processes: list[Process] = []
        self.gate_port, self.admin_port, self.prometheus_port = free_port(), free_port(), free_port()
        self.began = self.ended = 0.0  # of the scenario, seconds since 1970
        self._folder = folder

    def open(self, redis: str) -> None:
        upstream_port = free_port()
        upstream = f"http://127.0.0.1:{upstream_port}/v1"
        script = self._written("script.json", SCRIPT)
        self._start("upstream", "loadtests/upstream.py", "--port", str(upstream_port), "--scenario", str(script))
        config = configuration(self._folder, self.gate_port, self.admin_port, upstream=upstream, redis=redis)
        file = self._written("headgate.json", config).rename(self._folder / "headgate.yaml")
        gate = self._start("gate", "-m", "proxy", "serve", "--config", str(file))
        wait_until_ready(gate, f"{self.gate_url}/health/ready")
        self.scrape(f"127.0.0.1:{self.admin_port}")

    def scrape(self, target: str) -> None:
        """Prometheus begins, with all rules."""
        settings = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(generate.RULES / "*.yaml")],
            "scrape_configs": [{"job_name": "headgate", "static_configs": [{"targets": [target]}]}],
        }
        self.serve(self._folder / "prometheus", self._written("prometheus.json", settings))

    def serve(self, data: Path, settings: Path) -> None:
        process = Process(
            [
                needed("prometheus"),
                f"--config.file={settings}",
                f"--storage.tsdb.path={data}",
                "--storage.tsdb.retention.time=60d",
                f"--web.listen-address=127.0.0.1:{self.prometheus_port}",
                "--enable-feature=exemplar-storage",
            ],
            self._folder / "prometheus.log",
        )
        self._processes.append(process)
        wait_until_ready(process, f"{self.prometheus_url}/-/ready")

    def close(self) -> None:
        for process in reversed(self._processes):
            process.stop()

    @property
    def gate_url(self) -> str:
        return f"http://127.0.0.1:{self.gate_port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def prometheus_url(self) -> str:
        return f"http://127.0.0.1:{self.prometheus_port}"

    def query(self, expression: str, at: float | None = None) -> list[Json]:
        """The series of an instant query: `metric` and `value`."""
        asked = {"query": expression} | ({} if at is None else {"time": f"{at:.3f}"})
        answer = request_json(f"{self.prometheus_url}/api/v1/query?{urllib.parse.urlencode(asked)}")
        found: list[Json] = answer["data"]["result"]
        return found

    def value(self, expression: str) -> float:
        """Of an expression with one series; 0 while there is none."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else 0.0

    def _written(self, name: str, content: Json) -> Path:
        file = self._folder / name
        file.write_text(json.dumps(content))
        return file

    def _start(self, name: str, *arguments: str) -> Process:
        process = Process([sys.executable, *arguments], self._folder / f"{name}.log")
        self._processes.append(process)
        return process


def backfilled(samples: Path, data: Path) -> None:
    """Blocks of a Prometheus out of samples of the past."""
    command = [needed("promtool"), "tsdb", "create-blocks-from", "openmetrics", str(samples), str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
