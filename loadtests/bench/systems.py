"""The systems under test and their upstream: how each is started, and when it counts as ready.

nginx is the floor, the bare aiohttp hop the yardstick. The gate runs as in production: a configured key, a virtual
model with a price, metering, ledger on disk, metrics and one log line a request; `unlogged` is that without the line.
"""

from __future__ import annotations

import http.client
import json
import shutil
import string
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from . import body
from .processes import BenchError, Server, cores, free_port

KEY = "hg-benchmark-0123456789abcdef0123456789abcdef"
UPSTREAM = "loadtests/upstream.py"
INTERVAL_MS = 20.0  # of the upstream's chunks: 50 a second
READY_S_MAX = 20.0
POLL_S = 0.002
VARIANTS: dict[str, dict[str, object]] = {  # the gate with something more, or less
    "headgate": {},
    "unlogged": {"log_calls": "off"},
    "budgets": {"budget": [{"usd": 1_000_000, "per": "day"}, {"tokens": 10**12, "per": "hour"}]},
    "strict": {"strict": True},
    "silent": {"module": "tests.silent"},  # no metrics, no log lines, no live feed
}
NGINX_CONF = Path(__file__).with_name("nginx.conf")


@dataclass(frozen=True, slots=True)
class System:
    name: str
    port: int
    server: Server
    started_at: float  # time.perf_counter() just before exec
    admin_port: int = 0  # the gate's


class Lab:
    """One temporary folder, one upstream, and the systems that were asked for. Leaving it stops everything."""

    def __init__(self) -> None:
        self.core, self.load_core = cores()
        self.folder = Path(tempfile.mkdtemp(prefix="headgate-bench-"))
        self.folder.chmod(0o755)  # nginx's worker may run as another user
        self.bodies = {
            "small": self._write("small.json", body.chat(body.SMALL_BYTES)),
            "large": self._write("large.json", body.chat(body.LARGE_BYTES)),
            "stream": self._write("stream.json", body.chat_stream(body.SMALL_BYTES)),
        }
        self._servers: list[Server] = []
        self.upstream_port = 0

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for server in reversed(self._servers):
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start_upstream(self) -> System:
        port = self.upstream_port = free_port()
        options = ["--port", str(port), "--interval-ms", str(INTERVAL_MS), "--form", "stamped"]
        system = self._start("direct", port, [sys.executable, UPSTREAM, *options])
        wait_answer(system)
        return system

    def start(self, name: str) -> System:
        """Starts it and returns at once; `wait_ready` tells when it serves."""
        port = free_port()
        if name == "nginx":
            return self._start(name, port, self._nginx(port))
        if name == "hop":
            upstream = f"http://127.0.0.1:{self.upstream_port}"
            return self._start(name, port, module("hop", "--port", str(port), "--upstream", upstream))
        admin_port = free_port()
        return self._start(name, port, self._gate(port, admin_port, VARIANTS[name]), admin_port)

    def stop(self, system: System) -> None:
        system.server.stop()
        self._servers.remove(system.server)

    def _start(self, name: str, port: int, command: Sequence[str], admin_port: int = 0) -> System:
        core = self.load_core if name == "direct" else self.core
        started_at = time.perf_counter()
        server = Server(name, command, core=core, log=self.folder / f"{name}-{port}.log")
        self._servers.append(server)
        return System(name, port, server, started_at, admin_port)

    def _nginx(self, port: int) -> list[str]:
        folder = self.folder / f"nginx-{port}"
        folder.mkdir()
        names = {"folder": str(folder), "port": str(port), "upstream_port": str(self.upstream_port)}
        conf = folder / "nginx.conf"
        conf.write_text(string.Template(NGINX_CONF.read_text()).substitute(names))
        return [nginx_path() or "nginx", "-e", str(folder / "nginx.log"), "-p", str(folder), "-c", str(conf)]

    def _gate(self, port: int, admin_port: int, variant: dict[str, object]) -> list[str]:
        """A budget stands over the key and over the agent."""
        budget = {"budget": variant["budget"]} if "budget" in variant else {}
        price = {"input_usd_per_mtok": 3, "output_usd_per_mtok": 12}
        configuration = {
            "server": {"host": "127.0.0.1", "port": port},
            "admin": {"host": "127.0.0.1", "port": admin_port},
            "data_dir": str(self.folder / f"data-{port}"),
            "keys": [{"key": KEY, "agent": "bench", **budget}],
            "agents": {"bench": budget},
            "ledger": {"strict": variant.get("strict", False)},
            "providers": {
                "canned": {
                    "kind": "openai",
                    "base_url": f"http://127.0.0.1:{self.upstream_port}/v1",
                    "api_key": "sk-of-the-upstream",
                }
            },
            "models": {"bench": {"targets": ["canned/bench-2026-11-01"]}},
            "pricing": {"overrides": {"canned/bench-2026-11-01": price}},
            "telemetry": {"log_format": "json", "log_calls": variant.get("log_calls", "all")},
        }
        path = self._write(f"headgate-{port}.json", json.dumps(configuration).encode())
        return [sys.executable, "-m", str(variant.get("module", "proxy")), "serve", "--config", str(path)]

    def _write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path


def nginx_path() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"loadtests.bench.{name}", *arguments]


def wait_ready(system: System) -> float:
    """Seconds from exec to the first 200 on /health/ready."""
    return _wait(system, urllib.request.Request(f"http://127.0.0.1:{system.port}/health/ready"))


def wait_answer(system: System) -> float:
    """Seconds from exec to the first answered call."""
    return _wait(system, chat_request(system))


def chat_request(system: System) -> urllib.request.Request:
    return urllib.request.Request(
        f"http://127.0.0.1:{system.port}/v1/chat/completions",
        data=body.chat(body.SMALL_BYTES).replace(b"@NUMBER@", b"1"),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"},
    )


def _wait(system: System, request: urllib.request.Request) -> float:
    end = time.perf_counter() + READY_S_MAX
    problem = "no answer"
    while time.perf_counter() < end:
        try:
            with urllib.request.urlopen(request, timeout=1.0) as reply:
                reply.read()
                return time.perf_counter() - system.started_at
        except (OSError, http.client.HTTPException) as error:
            problem = repr(error)
            system.server.require_alive()
            time.sleep(POLL_S)
    raise BenchError(f"{system.name} did not get ready within {READY_S_MAX:g} s: {problem}")
