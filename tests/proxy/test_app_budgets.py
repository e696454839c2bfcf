"""Budgets in a gate that runs as a process: keys that bring their own, what people see, what the ledger keeps."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxy.test_app import ROOT, Process

pytestmark = pytest.mark.slow


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    process.start()
    yield process
    process.stop()


def headgate(gate: Process, *arguments: str) -> str:
    command = [sys.executable, "-m", "proxy", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=True).stdout


def new_key(gate: Process, body: dict[str, object]) -> str:
    url = f"http://127.0.0.1:{gate.admin_port}/keys"
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=20) as reply:
        return str(json.loads(reply.read())["key"])


def events(gate: Process, kind: str) -> list[tuple[str, dict[str, object]]]:
    """Of a gate that has stopped."""
    ledger = sqlite3.connect(gate.folder / "data" / "ledger.db")
    try:
        rows = ledger.execute("SELECT subject, body FROM event WHERE kind = ? ORDER BY seq", (kind,)).fetchall()
    finally:
        ledger.close()
    return [(subject, json.loads(body)) for subject, body in rows]


def test_the_budget_of_a_new_key_is_in_force_at_once_and_seen_and_kept(gate: Process) -> None:
    key = new_key(gate, {"agent": "a", "budget": [{"requests": 2, "per": "day"}, {"usd": 0.5, "per": "run"}]})
    account = f"key:{key[3:11]}"
    assert [gate.post({"model": "m"}, key)[0] for _ in range(4)] == [200, 200, 429, 429]
    rows = json.loads(gate.get(f"/budgets?account={account}", admin=True)[1])["rows"]
    assert [(row["unit"], row["limit"], row["spent"], row["left"], row["used"]) for row in rows] == [
        ("requests", 2, 2, 0, 1.0)
    ]
    shown = headgate(gate, "budgets", account, "--admin", f"http://127.0.0.1:{gate.admin_port}")
    assert shown.splitlines()[1].split()[:6] == [account, "2", "requests/day", "100%", "2", "0"]
    gate.until(lambda: b'budget="key",reason="spent"} 2.0' in gate.get("/metrics", admin=True)[1])
    assert gate.stop() == 0
    reached = [body["reached_percent"] for subject, body in events(gate, "limit") if subject == account]
    assert reached == [50, 80, 100]
    assert sum(int(str(body["count"])) for subject, body in events(gate, "refusal") if subject == account) == 2


def test_a_key_of_the_command_line_brings_its_budget_into_a_running_gate(gate: Process) -> None:
    key = headgate(
        gate, "keys", "create", "--agent", "a", "--budget", "1requests/day", "--data-dir", str(gate.folder / "data")
    ).strip()
    gate.until(lambda: gate.post({"model": "m"})[0] == 401)  # the first key closes the gate
    assert [gate.post({"model": "m"}, key)[0] for _ in range(2)] == [200, 429]
