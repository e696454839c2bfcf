"""A gate that is killed in the middle of calls counts too much, never too little, and holds nothing for the dead."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.proxy.test_app import PRICE, ROOT, Process

pytestmark = pytest.mark.slow


class Upstream:
    """A provider in a process of its own, which survives the gate and knows its own bill."""

    def __init__(self) -> None:
        command = [sys.executable, "loadtests/upstream.py", "--port", "0", "--delay-ms", "150", "--tokens", "40"]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = re.search(r"http://\S+", self.process.stdout.readline())
        assert found is not None
        self.base_url = found[0]

    @property
    def usd(self) -> Decimal:
        """What it would charge, at `PRICE`."""
        with urllib.request.urlopen(self.base_url.removesuffix("/v1") + "/__bill", timeout=20) as response:
            bill = json.load(response)
        return Decimal(bill["prompt_tokens"] + 2 * bill["completion_tokens"]) / 1_000_000


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.process.terminate()
    made.process.wait(20)


@pytest.fixture
def gate(tmp_path: Path, upstream: Upstream) -> Iterator[Process]:
    made = Process(tmp_path)
    made.config["providers"] = {
        "up": {"kind": "openai", "engine": "vllm", "base_url": upstream.base_url, "api_key": "none"}
    }
    made.config["models"] = {"m": "up/bench"}
    made.config["pricing"] = {"overrides": {"up/bench": PRICE}}
    made.config["defaults"] = {"budget": [{"usd": 1_000}, {"requests": 100_000}, {"concurrency": 8}]}
    made.write()
    yield made
    made.stop()


def budgets(gate: Process) -> dict[str, dict[str, object]]:
    rows = json.loads(gate.get("/budgets", admin=True)[1])["rows"]
    return {row["unit"]: row for row in rows if row["account"].startswith("agent:")}


def used(row: dict[str, object]) -> Decimal:
    return Decimal(str(row["limit"])) - Decimal(str(row["left"])) - Decimal(str(row["held"]))


def killed_under_load(gate: Process) -> list[int]:
    """Eight callers, until the gate is killed under them; the statuses they saw."""
    seen: list[int] = []
    over = threading.Event()

    def calls() -> None:
        while not over.is_set():
            seen.append(gate.post({"model": "m", "max_tokens": 1_000})[0])

    callers = [threading.Thread(target=calls) for _ in range(8)]
    for caller in callers:
        caller.start()
    gate.until(lambda: seen.count(200) >= 16)
    time.sleep(0.07)  # into the middle of calls
    gate.signal(signal.SIGKILL)
    gate.ended()
    over.set()
    for caller in callers:
        caller.join()
    return seen


def test_after_a_kill_the_budget_has_at_least_the_true_bill_and_no_hold_is_stuck(
    gate: Process, upstream: Upstream
) -> None:
    served = 0
    for _ in range(3):
        gate.start()
        served += killed_under_load(gate).count(200)
        gate.start()
        rows = budgets(gate)
        assert {str(row["held"]) for row in rows.values()} <= {"0.00", "0"}
        assert used(rows["usd"]) >= upstream.usd
        assert Decimal(str(rows["usd"]["unresolved"])) > 0
        assert used(rows["requests"]) >= served
        gate.until(lambda: b'"event":"holds expired"' in gate.errors.read_bytes())
        assert gate.post({"model": "m"})[0] == 200
        served += 1
        before = used(budgets(gate)["usd"])
        assert gate.stop() == 0
        gate.start()
        assert used(budgets(gate)["usd"]) == before
        assert gate.stop() == 0
        assert b'"event":"holds expired"' not in gate.errors.read_bytes()


@pytest.mark.parametrize("strict", [True, False])
def test_with_a_strict_ledger_no_call_whose_reply_was_whole_is_lost(
    gate: Process, upstream: Upstream, strict: bool
) -> None:
    gate.config["ledger"] = {"strict": strict}
    gate.write()
    for stream in (False, True, False, True):
        gate.start()
        assert gate.post({"model": "m", "max_tokens": 1_000, "stream": stream})[0] == 200
        gate.signal(signal.SIGKILL)
        gate.ended()
    gate.start()
    rows = budgets(gate)
    unresolved = Decimal(str(rows["usd"]["unresolved"]))
    if strict:
        assert (used(rows["usd"]), unresolved, used(rows["requests"])) == (upstream.usd, 0, 4)
    else:
        assert used(rows["usd"]) > upstream.usd and unresolved > 0, "without it a call's row may be lost"
