"""A quorum and a debate in a gate that runs as a process: from its configuration to its metrics and its words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxy.test_app import Process

pytestmark = pytest.mark.slow


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    process.config["models"] = {
        "m": "quick/sim",
        "panel": {"mode": "quorum", "members": ["m"], "ask": 3, "answer": {"take": "last_line"}},
        "council": {"mode": "debate", "members": ["m", "m"], "rounds": 2},
    }
    process.write()
    process.start()
    yield process
    process.stop()


def test_an_agent_asks_a_panel_as_any_model(gate: Process) -> None:
    status, body = gate.post({"model": "panel"})
    assert (status, json.loads(body)["object"]) == (200, "chat.completion")
    status, body = gate.post({"model": "council"})
    assert status == 200
    text = gate.get("/metrics", admin=True)[1].decode()
    assert 'headgate_quorum_calls_total{result="agreed",route="panel"} 1.0' in text
    assert 'headgate_quorum_answers_total{route="panel"} 2.0' in text
    assert 'headgate_quorum_calls_total{result="agreed",route="council"} 1.0' in text
    assert 'headgate_debates_total{first_vote="same",route="council"} 1.0' in text
