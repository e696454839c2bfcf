"""`headgate up` on a machine without keys or configuration answers the snippet of the README as it is printed there."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tests.real.processes import (
    REPOSITORY,
    Process,
    eventually,
    free_port,
    run_gate_command,
    run_script,
    wait_until_ready,
)

pytestmark = pytest.mark.real

SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_readmes_snippet_runs_against_up_and_shows_up_in_spend(tmp_path: Path) -> None:
    snippet = SNIPPET.search((REPOSITORY / "README.md").read_text())
    assert snippet is not None
    script = tmp_path / "snippet.py"
    script.write_text(snippet[1])
    port, admin_port = free_port(), free_port()
    options = ["--port", str(port), "--admin-port", str(admin_port), "--data-dir", str(tmp_path / "data")]
    gate = Process([sys.executable, "-m", "proxy", "up", *options], tmp_path / "gate.log")
    try:
        wait_until_ready(gate, f"http://127.0.0.1:{port}/health/ready")
        printed = run_script("clients", script, {"HEADGATE_URL": f"http://127.0.0.1:{port}"})
        assert len(printed.split()) > 2
        admin = ("--admin", f"http://127.0.0.1:{admin_port}", "--json")
        spend = eventually(
            lambda: json.loads(run_gate_command("spend", "--by", "agent", *admin))["rows"],
            lambda rows: any(row["calls"] == 2 for row in rows),
        )
        (row,) = spend
        assert (row["key"], row["calls"]) == ("greeter", 2)
        assert row["cost_usd_nanos"] > 0
    finally:
        gate.stop()
