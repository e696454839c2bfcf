"""The stage of the real tests: one scripted upstream, gates in front of it, and clients in environments of their own.

Every scenario that succeeds is run twice, straight against the upstream and through the gate, and must see the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real import upstream as scripted
from tests.real.gate import API_KEY, Gate
from tests.real.processes import START_S_MAX, Client, Process, eventually, request_json

MODELS = (
    "chat",
    "weave",
    "embed",
    "write",
    "respond",
    "slow",
    "late",
    "cut",
    "fault",
    "fault-first",
    *scripted.REFUSALS,
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "engine" not in config.getoption("markexpr"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("engine")])
        items[:] = [item for item in items if not item.get_closest_marker("engine")]


class Upstream:
    """The scripted upstream, seen from outside."""

    def __init__(self, port: int) -> None:
        self._origin = f"http://127.0.0.1:{port}"
        self.base_url = f"{self._origin}/v1"

    def reset(self) -> None:
        request_json(f"{self._origin}/__reset", method="POST")

    def log(self) -> list[dict[str, Any]]:
        """Every call since the last reset, once all of them have ended."""
        log: list[dict[str, Any]] = eventually(
            lambda: request_json(f"{self._origin}/__log"), lambda log: all(entry["ended"] for entry in log)
        )
        return log

    def bill(self) -> dict[str, dict[str, int]]:
        bill: dict[str, dict[str, int]] = request_json(f"{self._origin}/__bill")
        return bill


class Stage:
    """One client between the upstream and a gate."""

    def __init__(self, client: Client, upstream: Upstream, gate: Gate) -> None:
        self.client, self.upstream, self.gate = client, upstream, gate

    def same(self, scenario: str, base_url: str | None = None) -> Any:
        """The value of a scenario that must not notice the gate."""
        self.upstream.reset()
        direct = self.client.run(scenario, self.upstream.base_url, scripted.API_KEY)
        assert "value" in direct, direct
        self.upstream.reset()
        through = self.client.run(scenario, base_url or f"{self.gate.url}/v1", API_KEY)
        assert through == direct
        return direct["value"]

    def through(self, scenario: str, base_url: str | None = None) -> Any:
        self.upstream.reset()
        answer = self.client.run(scenario, base_url or f"{self.gate.url}/v1", API_KEY)
        assert "value" in answer, answer
        return answer["value"]

    def refused(self, scenario: str, base_url: str | None = None) -> dict[str, Any]:
        """The exception that a scenario raised through the gate."""
        self.upstream.reset()
        answer = self.client.run(scenario, base_url or f"{self.gate.url}/v1", API_KEY)
        assert "error" in answer, answer
        error: dict[str, Any] = answer["error"]
        return error


OnStage = Callable[[str, str], Stage]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real")


@pytest.fixture(scope="session")
def upstream(folder: Path) -> Iterator[Upstream]:
    process = Process([sys.executable, "-m", "tests.real.upstream"], folder / "upstream.log")
    try:
        yield Upstream(int(process.json_line(START_S_MAX)["port"]))
    finally:
        process.stop()


@pytest.fixture(scope="session")
def gate(folder: Path, upstream: Upstream) -> Iterator[Gate]:
    """One attempt a call, so that the clients' own retries are seen alone."""
    yield from _gate(folder / "plain", upstream, 1)


@pytest.fixture(scope="session")
def patient_gate(folder: Path, upstream: Upstream) -> Iterator[Gate]:
    """Retries by itself, as the gate does by default."""
    yield from _gate(folder / "patient", upstream, 3)


def _gate(folder: Path, upstream: Upstream, attempts: int) -> Iterator[Gate]:
    folder.mkdir()
    gate = Gate(folder, {"base_url": upstream.base_url, "api_key": scripted.API_KEY}, MODELS, attempts)
    try:
        yield gate
    finally:
        gate.process.stop()


@pytest.fixture(scope="session")
def on_stage(folder: Path, upstream: Upstream, gate: Gate) -> Iterator[OnStage]:
    """Brings a client module of an environment on stage."""
    clients: list[Client] = []

    def bring(environment: str, module: str) -> Stage:
        clients.append(Client(environment, module, folder))
        return Stage(clients[-1], upstream, gate)

    yield bring
    for client in clients:
        client.stop()
