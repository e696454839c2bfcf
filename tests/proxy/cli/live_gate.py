"""A gate as far as its live feed goes: it says what it is told to, one script for each connection."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from msgspec import Struct, json

from proxy.state.budget_report import BudgetList
from tests.proxy.cli.test_budgets import ROW

SPEECHLESS = 404


def frame(kind: str, message: Struct, id: str = "") -> bytes:
    head = f"id: {id}\n" if id else ""
    return f"{head}event: {kind}\n".encode() + b"data: " + json.encode(message) + b"\n\n"


class LiveGate(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *scripts: bytes | int) -> None:
        """Each script is the body of one connection to the feed, or the status it is refused with."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.scripts = [*scripts]
        self.last_ids: list[str | None] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: LiveGate

    def do_GET(self) -> None:
        if self.path.startswith("/budgets"):
            self._say(200, json.encode(BudgetList((ROW,), truncated=False)))
            return
        self.server.last_ids.append(self.headers["Last-Event-ID"])
        script = self.server.scripts.pop(0) if self.server.scripts else SPEECHLESS
        if isinstance(script, int):
            self._say(script, b'{"error": {"message": "no more"}}')
        else:
            self._say(200, script)

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def live_gate(*scripts: bytes | int) -> Iterator[LiveGate]:
    gate = LiveGate(*scripts)
    thread = Thread(target=gate.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield gate
    finally:
        gate.shutdown()
        thread.join()
        gate.server_close()


def arguments(gate: LiveGate, **more: object) -> argparse.Namespace:
    return argparse.Namespace(admin=gate.address, token_file=None, json=False, **more)
