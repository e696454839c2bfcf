"""The ledger's commands against a gate that runs, was killed, and is stopped."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from decimal import Decimal
from pathlib import Path

import pytest

from tests.proxy.test_app import ROOT, Process, slow_stream

pytestmark = pytest.mark.slow


@pytest.fixture
def gate(tmp_path: Path) -> Process:
    made = Process(tmp_path)
    made.config["defaults"] = {"budget": [{"usd": 5}]}
    made.write()
    made.start()
    return made


def headgate(*typed: str, gate: Process | None = None) -> subprocess.CompletedProcess[str]:
    admin = () if gate is None else ("--admin", f"http://127.0.0.1:{gate.admin_port}")
    command = [sys.executable, "-m", "proxy", *typed, *admin]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def standing(gate: Process) -> dict[str, str]:
    (row,) = json.loads(gate.get("/budgets", admin=True)[1])["rows"]
    return {name: row[name] for name in ("spent", "unresolved", "held")}


def bill_of(gate: Process, **corrected: str) -> Path:
    """What the ledger says, as a provider would put it, but for the requests that are named by their number."""
    file = gate.folder / "bill.csv"
    lines = ["request_id,time,model,cost_usd"]
    for line in headgate("ledger", "export", gate=gate).stdout.splitlines():
        row = json.loads(line)
        cost = corrected.get("call" + row["upstream_request_id"].rpartition("_")[2], row["cost_usd"])
        lines.append(f"{row['upstream_request_id']},{row['at']},{row['upstream_model']},{cost}")
    file.write_text("\n".join(lines) + "\n")
    return file


def test_a_bill_corrects_the_budget_once_and_the_chain_holds(gate: Process) -> None:
    try:
        for _ in range(5):
            assert gate.post({"model": "m"})[0] == 200
        bill = str(bill_of(gate, call2="0.5"))
        before = Decimal(standing(gate)["spent"])
        assert headgate("ledger", "reconcile", bill, gate=gate).returncode == 1
        assert Decimal(standing(gate)["spent"]) == before
        for _ in range(2):
            headgate("ledger", "reconcile", bill, "--adjust", gate=gate)
            assert Decimal(standing(gate)["spent"]) == before * 4 / 5 + Decimal("0.5")
        agrees = headgate("ledger", "reconcile", bill, gate=gate)
        assert (agrees.returncode, "0.0000%" in agrees.stdout) == (0, True)
        assert "every row is as it was written" in headgate("ledger", "verify", gate=gate).stdout
    finally:
        gate.stop()
    gate.start()
    assert Decimal(standing(gate)["spent"]) == before * 4 / 5 + Decimal("0.5")
    gate.stop()


def test_what_a_crash_left_open_is_released_by_the_bill_and_stays_so(gate: Process) -> None:
    assert gate.post({"model": "m"})[0] == 200
    bill_of(gate)  # after this the call is on the disk
    with urllib.request.urlopen(slow_stream(gate), timeout=20) as response:
        response.readline()
        gate.signal(signal.SIGKILL)
        gate.ended()
    gate.start()
    assert Decimal(standing(gate)["unresolved"]) > 0
    spent = standing(gate)["spent"]
    bill = str(bill_of(gate))
    assert "1 calls were swallowed by a crash" in headgate("ledger", "reconcile", bill, gate=gate).stdout
    assert Decimal(standing(gate)["unresolved"]) > 0
    assert headgate("ledger", "reconcile", bill, "--adjust", "--release", gate=gate).returncode == 0
    released = {"spent": spent, "unresolved": "0.00", "held": "0.00"}
    assert standing(gate) == released
    gate.stop()
    gate.start()
    assert standing(gate) == released
    gate.stop()


def test_an_edit_behind_the_gates_back_is_found(gate: Process) -> None:
    for _ in range(3):
        gate.post({"model": "m"})
    headgate("ledger", "verify", gate=gate)
    gate.stop()
    folder = str(gate.folder / "data")
    assert headgate("ledger", "verify", "--data-dir", folder).returncode == 0
    connection = sqlite3.connect(gate.folder / "data" / "ledger.db")
    connection.execute("DROP TRIGGER attempt_no_update")
    connection.execute("UPDATE attempt SET cost_usd_nanos = 1 WHERE call = 2")
    connection.commit()
    connection.close()
    found = headgate("ledger", "verify", "--data-dir", folder)
    assert found.returncode == 1 and "row 2 does not fit" in found.stdout
    gate.start()
    assert "row 2 does not fit" in headgate("ledger", "verify", gate=gate).stdout
    gate.stop()


def test_a_quote_is_what_the_call_then_holds(gate: Process) -> None:
    request = {"messages": [{"role": "user", "content": "hello"}], "model": "m", "max_tokens": 50}
    file = gate.folder / "request.json"
    file.write_text(json.dumps(request))
    quoted = json.loads(headgate("quote", "--file", str(file), "--json", gate=gate).stdout)
    gate.post(request)
    (line,) = headgate("ledger", "export", gate=gate).stdout.splitlines()
    held = Decimal(json.loads(line)["held_usd"]) * 10**9
    gate.stop()
    assert quoted["targets"][0]["hold_usd_nanos"] == held
