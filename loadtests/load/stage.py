"""The processes of a load test: scripted upstreams with a bill of their own, and the gate. All of them end here."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .scenarios import Scenario

REPOSITORY = Path(__file__).parents[2]
READY_S = 30.0
STOP_S = 15.0
PRICE = {"input_usd_per_mtok": "1", "output_usd_per_mtok": "4"}


class StageError(Exception):
    """Something did not come up; the message says what, and what it said."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def fetch(url: str, data: bytes | None = None) -> Any:
    """JSON from loopback."""
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        text = reply.read()
    try:
        return json.loads(text)
    except ValueError:
        return text.decode()


class Process:
    def __init__(self, command: Sequence[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self._log = log.open("wb")
        self.log = log
        self.process = subprocess.Popen(
            list(command),
            cwd=REPOSITORY,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._log.close()
        return self.process.returncode

    def until(self, url: str) -> None:
        """Raises StageError when nobody answers there."""
        ends = time.monotonic() + READY_S
        while time.monotonic() < ends and self.process.poll() is None:
            try:
                fetch(url)
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise StageError(f"{url} does not answer: {self.log.read_text()[-2_000:]}")


class Upstream(Process):
    def __init__(self, python: str, scenario: Scenario, folder: Path, number: int) -> None:
        self.port = free_port()
        file = folder / f"upstream-{number}.json"
        file.write_text(json.dumps({"seed": number + 1, "rules": list(scenario.rules)}))
        command = [python, "loadtests/upstream.py", "--port", str(self.port), "--scenario", str(file)]
        super().__init__(command, folder / f"upstream-{number}.log")
        self.until(f"http://127.0.0.1:{self.port}/health")

    def bill(self) -> dict[str, Any]:
        told: dict[str, Any] = fetch(f"http://127.0.0.1:{self.port}/bill")
        return told


class Gate(Process):
    """`command` is how the gate is started: `headgate serve --config`."""

    def __init__(self, command: Sequence[str], scenario: Scenario, upstreams: Sequence[Upstream], folder: Path) -> None:
        self.port, self.admin_port = free_port(), free_port()
        self.file = folder / "gate.json"
        self.settings = self._settings(scenario, upstreams, folder)
        self.write()
        super().__init__([*command, str(self.file)], folder / "gate.log")
        self.until(f"{self.url}/health/ready")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def write(self) -> None:
        self.file.write_text(json.dumps(self.settings))

    def admin(self, path: str) -> Any:
        return fetch(f"http://127.0.0.1:{self.admin_port}{path}")

    def resident_kb(self) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        return 0

    def _settings(self, scenario: Scenario, upstreams: Sequence[Upstream], folder: Path) -> dict[str, Any]:
        names = [f"up{number}" for number in range(len(upstreams))]
        return {
            "server": {"port": self.port, "max_body_mb": 32},
            "admin": {"port": self.admin_port},
            "data_dir": str(folder / "data"),
            "providers": {
                name: {"kind": "openai", "engine": "vllm", "base_url": f"http://127.0.0.1:{upstream.port}/v1"}
                for name, upstream in zip(names, upstreams, strict=True)
            },
            "models": {"chat": {"targets": [f"{name}/model" for name in names]}},
            "pricing": {"overrides": {f"{name}/model": PRICE for name in names}},
            **scenario.gate,
        }
