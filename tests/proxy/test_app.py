"""The gate as a process: it starts, reloads whole or not at all, drains, and says clearly why it cannot start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SLOW = {
    "kind": "simulated",
    "first_token_s": {"median": 0.05, "sigma": 0},
    "token_s": {"median": 0.05, "sigma": 0},
    "output_tokens": {"median": 60, "sigma": 0},
}
QUICK = {
    "kind": "simulated",
    "first_token_s": {"median": 0.01, "sigma": 0},
    "token_s": {"median": 0.001, "sigma": 0},
    "output_tokens": {"median": 10, "sigma": 0},
}
PRICE = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Process:
    """`headgate serve` on free ports, with its configuration in `config`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "headgate.json"
        self.port, self.admin_port = free_port(), free_port()
        self.config: dict[str, object] = {
            "server": {"port": self.port},
            "admin": {"port": self.admin_port},
            "data_dir": str(folder / "data"),
            "providers": {"quick": QUICK, "slow": SLOW},
            "models": {"m": "quick/sim", "slow": "slow/sim"},
            "pricing": {"overrides": {"quick/sim": PRICE, "slow/sim": PRICE}},
        }
        self.write()
        self.errors = folder / "stderr"
        self.process: subprocess.Popen[bytes] | None = None

    def write(self) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(self.config, indent=1))
        fresh.replace(self.file)

    def start(self) -> None:
        command = [sys.executable, "-m", "proxy", "serve", "--config", str(self.file)]
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors)
        self.until(lambda: self.get("/health/ready")[0] == 200)

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(20)

    def ended(self) -> int:
        assert self.process is not None
        return self.process.wait(20)

    def get(self, path: str, *, admin: bool = False, key: str = "any") -> tuple[int, bytes]:
        port = self.admin_port if admin else self.port
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {key}"})
        return self._open(request)

    def post(self, body: dict[str, object], key: str = "any") -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        data = json.dumps({"messages": [{"role": "user", "content": "hello"}], **body}).encode()
        url = f"http://127.0.0.1:{self.port}/v1/chat/completions"
        return self._open(urllib.request.Request(url, data=data, headers=headers))

    def kill_run(self, run: str) -> tuple[int, bytes]:
        url = f"http://127.0.0.1:{self.admin_port}/runs/{run}/kill"
        return self._open(urllib.request.Request(url, data=b"{}", headers={"Content-Type": "application/json"}))

    def _open(self, request: urllib.request.Request) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def until(self, holds: object, seconds: float = 15.0) -> None:
        """Polls: another process decides when."""
        end = time.monotonic() + seconds
        while not holds():  # type: ignore[operator]
            assert time.monotonic() < end, f"never came true; the gate said: {self.errors.read_text()[-2000:]}"
            time.sleep(0.05)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    process.start()
    yield process
    process.stop()


def test_it_serves_records_and_stops_cleanly(gate: Process) -> None:
    assert gate.post({"model": "m"})[0] == 200
    health = {row["target"]: row["health"] for row in json.loads(gate.get("/targets", admin=True)[1])}
    assert (health["quick/sim"]["state"], health["quick/sim"]["calls"], health["slow/sim"]["calls"]) == ("closed", 1, 0)
    assert gate.stop() == 0
    gate.start()
    spend = json.loads(gate.get("/spend", admin=True)[1])
    assert spend["total"]["calls"] == 1
    assert spend["total"]["cost_usd_nanos"] > 0


@pytest.mark.parametrize("by_signal", [True, False], ids=["SIGHUP", "changed file"])
def test_a_changed_configuration_takes_over_whole(gate: Process, by_signal: bool) -> None:
    assert gate.post({"model": "new"})[0] == 404
    gate.config["models"] = {"new": "quick/sim"}
    gate.write()
    if by_signal:
        gate.signal(signal.SIGHUP)
    gate.until(lambda: gate.post({"model": "new"})[0] == 200)
    assert gate.post({"model": "m"})[0] == 404


@pytest.mark.parametrize("workers", [1, 2])
def test_limits_take_over_with_the_configuration_in_every_process(gate: Process, workers: int) -> None:
    if workers > 1:
        assert gate.stop() == 0
        gate.config["server"] = {"port": gate.port, "workers": workers}
        gate.write()
        gate.start()
    assert [gate.post({"model": "m"})[0] for _ in range(6)] == [200] * 6
    gate.config["defaults"] = {"rpm": 2}
    gate.write()
    gate.signal(signal.SIGHUP)
    gate.until(lambda: gate.post({"model": "m"})[0] == 429)
    gate.config["defaults"] = {}
    gate.write()
    gate.signal(signal.SIGHUP)
    gate.until(lambda: gate.post({"model": "m"})[0] == 200)
    gate.config["defaults"] = {"budget": [{"requests": 2, "per": "total"}]}
    gate.write()
    gate.signal(signal.SIGHUP)
    gate.until(lambda: gate.post({"model": "m"})[0] == 402)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_is_killed_between_two_calls_leaves_the_gate_of_its_pool(gate: Process, workers: int) -> None:
    assert gate.stop() == 0
    gate.config["server"] = {"port": gate.port, "workers": workers}
    gate.config["models"] = {"m": {"targets": ["quick/sim"], "gate": {}}}
    gate.write()
    gate.start()
    assert gate.post({"model": "m", "session_id": "r"})[0] == 200
    assert gate.post({"model": "m"})[0] == 200
    assert [row["active"] for row in json.loads(gate.get("/gates", admin=True)[1])] == [2]
    assert gate.kill_run("r")[0] == 200
    assert [row["active"] for row in json.loads(gate.get("/gates", admin=True)[1])] == [1]


@pytest.mark.parametrize("workers", [1, 2])
def test_lines_of_calls_come_and_go_with_a_reload_and_the_ledger_has_all(gate: Process, workers: int) -> None:
    gate.stop()
    gate.config["server"] = {"port": gate.port, "workers": workers}
    gate.config["providers"] = {"quick": QUICK, "slow": QUICK | {"error_share": {"500": 1}}}
    gate.config["defaults"] = {"retry": {"attempts": 1}}  # so that no breaker opens
    gate.config["telemetry"] = {"log_calls": "off"}
    gate.write()
    gate.start()
    made = 0

    def reload(telemetry: dict[str, str]) -> None:
        gate.config["telemetry"] = telemetry
        gate.write()
        before = gate.errors.read_text().count('"reloaded"')
        gate.signal(signal.SIGHUP)
        gate.until(lambda: gate.errors.read_text().count('"reloaded"') > before)

    def told() -> list[str]:
        """How calls ended, as the log says, once two more were made."""
        nonlocal made
        assert gate.post({"model": "m"})[0] == 200 and gate.post({"model": "slow"})[0] >= 500
        made += 2
        lines = [json.loads(line) for line in gate.errors.read_text().splitlines() if line.startswith("{")]
        return [line["outcome"] for line in lines if line["event"] == "call"]

    assert told() == []
    reload({"log_calls": "failures"})
    gate.until(told)
    assert "ok" not in told()
    reload({})
    gate.until(lambda: "ok" in told())
    assert gate.stop() == 0
    gate.start()
    assert json.loads(gate.get("/spend", admin=True)[1])["total"]["calls"] == made


def test_a_broken_configuration_is_refused_in_words_and_the_old_one_stays(gate: Process) -> None:
    version = json.loads(gate.get("/config", admin=True)[1])["version"]
    gate.config["models"] = {"m": {"targets": ["nowhere/sim"]}, "q": {"targts": []}}
    gate.write()
    gate.signal(signal.SIGHUP)
    gate.until(lambda: b"reload refused" in gate.errors.read_bytes())
    said = gate.errors.read_text()
    assert "headgate.json:" in said
    assert "models.m.targets" in said
    assert "targts" in said
    assert gate.post({"model": "m"})[0] == 200
    assert json.loads(gate.get("/config", admin=True)[1])["version"] == version
    assert b'headgate_config_reloads_total{result="error"} 1.0' in gate.get("/metrics", admin=True)[1]


def test_a_reload_says_what_only_a_restart_can_change(gate: Process) -> None:
    gate.config["admin"] = {"port": free_port()}
    gate.write()
    gate.signal(signal.SIGHUP)
    gate.until(lambda: b'"event":"restart needed","for":"admin"' in gate.errors.read_bytes())
    assert gate.get("/spend", admin=True)[0] == 200


def slow_stream(gate: Process) -> urllib.request.Request:
    body = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
    url = f"http://127.0.0.1:{gate.port}/v1/chat/completions"
    return urllib.request.Request(url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"})


def test_a_running_stream_ends_on_the_configuration_it_began_with(gate: Process) -> None:
    with urllib.request.urlopen(slow_stream(gate), timeout=20) as response:
        response.readline()
        del gate.config["models"]["slow"]  # type: ignore[attr-defined]
        gate.write()
        gate.signal(signal.SIGHUP)
        gate.until(lambda: gate.post({"model": "slow"})[0] == 404)
        assert response.read().endswith(b"data: [DONE]\n\n")


def test_a_running_stream_is_let_end_when_the_gate_is_told_to_stop(gate: Process) -> None:
    with urllib.request.urlopen(slow_stream(gate), timeout=20) as response:
        response.readline()
        gate.signal(signal.SIGTERM)
        gate.until(lambda: gate.get("/health/live")[0] == 0)
        assert response.read().endswith(b"data: [DONE]\n\n")
    assert gate.ended() == 0


def test_a_stream_that_outlives_the_drain_is_told_why_it_ends(gate: Process) -> None:
    gate.config["limits"] = {"drain_s": 0.5}
    gate.write()
    gate.signal(signal.SIGHUP)
    gate.until(lambda: b'"reloaded"' in gate.errors.read_bytes())
    with socket.create_connection(("127.0.0.1", gate.port)) as client:
        body = json.dumps({"model": "slow", "stream": True, "messages": [{"role": "user", "content": "x"}]}).encode()
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\n")
        client.sendall(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        said = client.recv(65536)
        gate.signal(signal.SIGTERM)
        while data := client.recv(65536):
            said += data
    assert b'"code":"shutting_down"' in said
    assert b"[DONE]" not in said
    assert gate.ended() == 0
    assert b'"error_code":"shutting_down"' in gate.errors.read_bytes()


def test_a_key_made_and_revoked_by_another_process_counts_within_a_second(gate: Process) -> None:
    def keys(*arguments: str) -> str:
        command = [sys.executable, "-m", "proxy", "keys", *arguments, "--config", str(gate.file)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=20).stdout

    made = json.loads(keys("create", "--agent", "planner", "--json"))
    gate.until(lambda: gate.post({"model": "m"})[0] == 401, 2)
    assert gate.post({"model": "m"}, key=made["key"])[0] == 200
    keys("revoke", made["id"])
    gate.until(lambda: gate.post({"model": "m"}, key=made["key"])[0] == 401, 2)


def refused(file: Path, *more: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(file), *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, done.stderr


def test_a_port_that_is_taken_is_said_in_one_sentence(gate: Process) -> None:
    code, said = refused(gate.file, "--data-dir", str(gate.folder / "other"))
    assert code == 1
    assert str(gate.port) in said
    assert "taken" in said
    assert "Traceback" not in said


def test_a_ledger_in_use_is_said_in_one_sentence(gate: Process) -> None:
    code, said = refused(gate.file, "--port", "0", "--admin-port", "0")
    assert code == 1
    assert "in use by another process" in said
    assert "Traceback" not in said


def test_a_broken_file_ends_with_code_2_and_line_numbers(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("server:\n  prot: 8080\n")
    code, said = refused(file)
    assert code == 2
    assert "bad.yaml:2" in said
    assert "port" in said
