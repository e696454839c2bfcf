"""Two terminals: in one an agent loops, from the other its run is looked at, topped up and killed; the bill is right.

Everything is real: the gate, the agent, the commands and the upstream are processes of their own, and the upstream
keeps its own books. It bills what it has begun, so what a killed call costs is read to its end by the gate.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxy.test_app import PRICE, ROOT, Process, free_port

pytestmark = pytest.mark.slow

INPUT_NANOS, OUTPUT_NANOS = 1_000, 2_000  # a token, at PRICE
AGENT = """
import contextlib, http.client, json, os, sys, threading, urllib.error, urllib.request

def say(*words):
    os.write(1, (" ".join(words) + "\\n").encode())  # a line in one piece: two threads speak

def loop(run, parent):
    headers = {"Authorization": "Bearer any", "Content-Type": "application/json", "X-Headgate-Agent": "looper"}
    headers |= {"X-Headgate-Run": run} | ({"X-Headgate-Parent-Run": parent} if parent else {})
    for step in range(10_000):
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(10)
        body = json.dumps({"model": "m", "stream": True, "max_tokens": 500, "user": f"{run}-{step}",
                           "messages": [{"role": "user", "content": "again " * (step % 7)}]}).encode()
        request = urllib.request.Request(sys.argv[1] + "/v1/chat/completions", data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                reply.read()
        except http.client.IncompleteRead as cut:  # in the middle of a reply, whose last event says why
            say(run, json.loads(cut.partial.rpartition(b"data: ")[2])["error"]["code"], "in a reply")
        except urllib.error.HTTPError as error:
            code = json.loads(error.read())["error"]["code"]
            if code != "budget_exceeded":
                say(run, code)
                together.abort()
                return

together = threading.Barrier(2)  # so that there is a moment at which both have just begun
loops = [threading.Thread(target=loop, args=args) for args in (("trip", None), ("trip-search", "trip"))]
[each.start() for each in loops]
[each.join() for each in loops]
"""


class Upstream:
    def __init__(self) -> None:
        self.port = free_port()
        self._streams = 0
        command = [sys.executable, "loadtests/upstream.py", "--port", str(self.port), "--tokens", "30"]
        self.process = subprocess.Popen([*command, "--interval-ms", "40"], cwd=ROOT)

    def bill(self) -> dict[str, int]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/__bill", timeout=10) as reply:
            found: dict[str, int] = json.loads(reply.read())
            return found

    def both_begun_after(self, streams: int) -> bool:
        """Two streams more than that have begun, this moment: they begin together."""
        bill = self.bill()
        return bill["streams_open"] == 2 and bill["streams"] >= streams + 2 and self._new(bill["streams"])

    def _new(self, streams: int) -> bool:
        before, self._streams = self._streams, streams
        return 0 < before < streams

    def usd_nanos(self) -> int:
        bill = self.bill()
        return bill["prompt_tokens"] * INPUT_NANOS + bill["completion_tokens"] * OUTPUT_NANOS


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.process.terminate()
    made.process.wait(10)


@pytest.fixture
def gate(tmp_path: Path, upstream: Upstream) -> Iterator[Process]:
    process = Process(tmp_path)
    url = f"http://127.0.0.1:{upstream.port}/v1"
    process.config["providers"] = {"up": {"kind": "openai", "base_url": url, "abort": "continues", "engine": "vllm"}}
    process.config["models"] = {"m": "up/bench"}
    process.config["pricing"] = {"overrides": {"up/bench": PRICE}}
    process.config["agents"] = {"looper": {"budget": [{"usd": "0.0003", "per": "run"}]}, "flat": {"run": {"depth": 1}}}
    process.write()
    process.start()
    yield process
    process.stop()


def headgate(gate: Process, *typed: str) -> dict[str, object]:
    """The second terminal."""
    admin = f"http://127.0.0.1:{gate.admin_port}"
    command = [sys.executable, "-m", "proxy", *typed, "--admin", admin, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def tree(gate: Process) -> dict[str, object]:
    return headgate(gate, "runs", "trip")


def refused(gate: Process) -> bool:
    rows = json.loads(gate.get("/requests?run=trip&error=budget_exceeded", admin=True)[1])["rows"]
    return bool(rows)


def test_a_looping_agent_is_stopped_from_another_terminal_and_the_bill_is_exact(
    gate: Process, upstream: Upstream
) -> None:
    command = [sys.executable, "-c", AGENT, f"http://127.0.0.1:{gate.port}"]
    agent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        gate.until(lambda: refused(gate))  # the loop has run into the budget of its run
        for run in ("trip", "trip-search"):
            assert headgate(gate, "runs", "topup", run, "--usd", "0.50")["amount"] == 500_000_000
        before = upstream.bill()["streams"]
        gate.until(lambda: upstream.both_begun_after(before + 2))
        killed = headgate(gate, "runs", "kill", "trip")
        assert killed["state"] == "killed"
        said, _ = agent.communicate(timeout=30)
    finally:
        agent.kill()
    lines = said.splitlines()
    assert {line for line in lines if line.endswith("killed")} == {"trip run_killed", "trip-search run_killed"}
    in_a_reply = [line for line in lines if line.endswith("run_killed in a reply")]
    assert len(lines) == 2 + len(in_a_reply)
    assert killed["interrupted"] == killed["draining"] == len(in_a_reply) == 2
    gate.until(lambda: upstream.bill()["streams_open"] == 0)
    gate.until(lambda: tree(gate)["total_usd_nanos"] == upstream.usd_nanos(), 5)
    spent = headgate(gate, "spend", "--by", "run")["total"]
    assert isinstance(spent, dict)
    assert spent["cost_usd_nanos"] == upstream.usd_nanos() > 0
    assert spent["estimated_usd_nanos"] == 0
    gate.stop()
    gate.start()
    deep = urllib.request.Request(
        f"http://127.0.0.1:{gate.port}/agents/flat/runs/low/v1/chat/completions",
        data=b'{"model":"m","messages":[]}',
        headers={"Content-Type": "application/json", "X-Headgate-Parent-Run": "top"},
    )
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(deep, timeout=10)
    assert json.loads(refusal.value.read())["error"]["code"] == "run_limit_exceeded"
    body = {"model": "m", "metadata": {"run": "trip"}}
    status, answer = gate.post(body)
    assert (status, json.loads(answer)["error"]["code"]) == (403, "run_killed")
    budget = tree(gate)["budget"]
    assert isinstance(budget, list)
    assert [(row["limit"], row["spent"]) for row in budget] == [(500_300_000, upstream.usd_nanos())]
    assert spent["cost_usd_nanos"] == upstream.usd_nanos()
