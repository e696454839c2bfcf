"""A gate in front of one upstream, as an operator runs it: `python -m proxy serve --config F`, and its admin API.

Every model of the upstream has the same price, so that the gate's bill can be checked with the upstream's tokens.
"""

from __future__ import annotations

import json
import sys
import urllib.error
from pathlib import Path
from typing import Any

from tests.real.processes import Process, eventually, free_port, request_json, run_gate_command, wait_until_ready

API_KEY = "hg-key-of-the-real-clients"
INPUT_USD_PER_MTOK = 2
OUTPUT_USD_PER_MTOK = 8


class Gate:
    """`provider` is its block of the configuration; `models` of it are offered under their own names."""

    def __init__(self, folder: Path, provider: dict[str, str], models: tuple[str, ...], attempts: int) -> None:
        self.port, self.admin_port = free_port(), free_port()
        self.config = folder / "headgate.yaml"
        self.config.write_text(json.dumps(self._configuration(folder, provider, models, attempts), indent=1))
        command = [sys.executable, "-m", "proxy", "serve", "--config", str(self.config)]
        self.process = Process(command, folder / "gate.log")
        try:
            wait_until_ready(self.process, f"{self.url}/health/ready")
        except BaseException:
            self.process.stop()
            raise

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def base_url(self, agent: str, run: str | None = None) -> str:
        return f"{self.url}/agents/{agent}" + (f"/runs/{run}" if run else "") + "/v1"

    def admin(self, path: str) -> Any:
        return request_json(f"{self.admin_url}{path}")

    def run(self, run: str, *, calls: int) -> dict[str, Any]:
        """The summary of a run once the ledger knows so many calls of it; its rows are written in groups."""
        return dict(eventually(lambda: self._summary(run), lambda seen: seen.get("calls", 0) >= calls))

    def _summary(self, run: str) -> dict[str, Any]:
        try:
            return dict(self.admin(f"/runs/{run}")["run"]["summary"])
        except urllib.error.HTTPError as missing:
            if missing.code != 404:
                raise
            return {}

    def spend(self, by: str, key: str) -> dict[str, Any]:
        (row,) = (row for row in self.admin(f"/spend?by={by}")["rows"] if row["key"] == key)
        return dict(row)

    def command(self, *arguments: str) -> Any:
        return json.loads(run_gate_command(*arguments, "--admin", self.admin_url, "--json"))

    def _configuration(
        self, folder: Path, provider: dict[str, str], models: tuple[str, ...], attempts: int
    ) -> dict[str, Any]:
        price = {"input_usd_per_mtok": INPUT_USD_PER_MTOK, "output_usd_per_mtok": OUTPUT_USD_PER_MTOK}
        return {
            "server": {"host": "127.0.0.1", "port": self.port, "max_body_mb": 1},
            "admin": {"host": "127.0.0.1", "port": self.admin_port},
            "data_dir": str(folder / "data"),
            "keys": [{"key": API_KEY, "agent": "any"}],
            "providers": {"lab": {"kind": "openai", **provider}},
            "models": {model: {"targets": [f"lab/{model}"]} for model in models},
            "defaults": {"retry": {"attempts": attempts}},
            "agents": {"by-run": {"retry": {"attempts": attempts}, "cache": {"replay": "run"}}},
            "pricing": {"overrides": {f"lab/{model}": price for model in models}},
        }


def cost_usd_nanos(line: dict[str, int]) -> int:
    """What the tokens of a line of the upstream's bill cost at the prices above."""
    return 1000 * (line["input_tokens"] * INPUT_USD_PER_MTOK + line["output_tokens"] * OUTPUT_USD_PER_MTOK)
