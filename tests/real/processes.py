"""Starts, asks and stops the processes of the real tests: upstream, gate, engine, and clients in their environments.

Every wait has an end. What a process wrote to standard error is shown when it does not come up or dies.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.real import environments

REPOSITORY = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"
START_S_MAX = 30.0
STOP_S_MAX = 15.0
REPLY_S_MAX = 60.0
SETTLE_S_MAX = 10.0
NO_OTHER_HOST = {  # no proxy, no report to a vendor, no price list fetched at import
    "NO_PROXY": "*",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}


class Process:
    """One process, with its standard error in a file and its standard output in `lines`."""

    def __init__(self, command: Sequence[str], errors: Path, variables: dict[str, str] | None = None) -> None:
        self.errors = errors
        with errors.open("wb") as sink:
            self._process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                env=_environment() | (variables or {}),
            )

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def json_line(self, timeout_s: float) -> dict[str, Any]:
        """The next line of standard output; nobody is asked a second question before the first is answered."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], timeout_s)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            raise AssertionError(f"no answer within {timeout_s:g} s:\n{self.last_errors()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def running(self) -> bool:
        return self._process.poll() is None

    def last_errors(self) -> str:
        return self.errors.read_text(errors="replace")[-4000:]

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.communicate(timeout=STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate(timeout=STOP_S_MAX)


class Client:
    """A module of `clients/` kept running in its environment: one scenario a question."""

    def __init__(self, environment: str, module: str, folder: Path) -> None:
        command = [str(environments.python(environment)), str(CLIENTS / "runner.py"), module]
        self._process = Process(command, folder / f"{module}-{time.monotonic_ns()}.log", {"TMPDIR": str(folder)})

    def run(self, scenario: str, base_url: str, api_key: str) -> dict[str, Any]:
        """`{"value": ...}`, or `{"error": {...}}` with the exception's classes and the SDK's fields of it."""
        self._process.say(json.dumps({"scenario": scenario, "base_url": base_url, "api_key": api_key}))
        return self._process.json_line(REPLY_S_MAX)

    def stop(self) -> None:
        self._process.stop()


def run_script(environment: str, script: Path, variables: dict[str, str]) -> str:
    """Runs a script to its end and returns what it printed."""
    done = subprocess.run(
        [str(environments.python(environment)), str(script)],
        cwd=REPOSITORY,
        env=_environment() | variables,
        capture_output=True,
        text=True,
        timeout=REPLY_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def run_gate_command(*arguments: str) -> str:
    """A command of the gate itself, in the gate's own environment."""
    done = subprocess.run(
        [sys.executable, "-m", "proxy", *arguments],
        cwd=REPOSITORY,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=REPLY_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def _environment() -> dict[str, str]:
    """This process's own, without the keys of real providers: a test must not be able to spend money."""
    return {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")} | NO_OTHER_HOST


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def request_json(url: str, *, method: str = "GET") -> Any:
    with _straight().open(urllib.request.Request(url, method=method), timeout=REPLY_S_MAX) as reply:
        return json.load(reply)


def _straight() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def eventually(look: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    """What `look` returns as soon as it is `good`; the last look if it never is, for the caller to judge."""
    end = time.monotonic() + SETTLE_S_MAX
    seen = look()
    while not good(seen) and time.monotonic() < end:
        time.sleep(0.02)
        seen = look()
    return seen


def wait_until_ready(process: Process, url: str, timeout_s: float = START_S_MAX) -> None:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            _straight().open(url, timeout=1.0).close()
            return
        except (urllib.error.URLError, OSError):
            assert process.running(), f"it ended at its start:\n{process.last_errors()}"
            time.sleep(0.05)
    raise AssertionError(f"not ready after {timeout_s:g} s:\n{process.last_errors()}")
