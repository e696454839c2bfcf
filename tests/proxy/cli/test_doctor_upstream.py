"""What is asked of a provider, against a listener that answers as it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from proxy.cli import doctor_upstream as upstream
from proxy.clock import SystemClock
from proxy.config.providers import OpenAIProvider, SimulatedProvider
from proxy.secret import Secret


class Provider(HTTPServer):
    def __init__(self, status: int, ahead_s: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.ahead_s = status, ahead_s
        self.heard: list[tuple[str, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        self.server.heard.append((self.path, self.headers["Authorization"]))
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(SystemClock().wall() + self.server.ahead_s, usegmt=True)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def provider(status: int = 200, ahead_s: float = 0.0) -> Iterator[Provider]:
    server = Provider(status, ahead_s)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def settings(port: int) -> OpenAIProvider:
    return OpenAIProvider(kind="openai", base_url=f"http://127.0.0.1:{port}/v1", api_key=Secret("k"))


@pytest.mark.parametrize(
    ("status", "state", "words"),
    [
        (200, "ok", "answered 200"),
        (404, "ok", "answered 404"),
        (401, "failed", "refuses the key"),
        (403, "failed", "refuses the key"),
        (503, "warning", "not well"),
        (302, "warning", "somewhere else"),
    ],
)
def test_its_status_says_whether_it_can_be_used(status: int, state: str, words: str) -> None:
    with provider(status) as server:
        (found,) = upstream.visit("up", settings(server.server_port)).findings
        assert (found.check, found.state) == ("provider up", state)
        assert words in found.words
        assert server.heard == [("/v1/models", "Bearer k")]  # once, and no redirect is followed


def test_nobody_there_and_a_name_that_does_not_exist_are_told_apart() -> None:
    with provider() as server:
        port = server.server_port
    (gone,) = upstream.visit("up", settings(port)).findings
    assert (gone.state, "does not answer" in gone.words) == ("failed", True)
    nameless = OpenAIProvider(kind="openai", base_url="http://nowhere.invalid/v1")
    (found,) = upstream.visit("up", nameless).findings
    assert (found.state, "does not resolve" in found.words) == ("failed", True)


def test_a_simulation_is_not_asked() -> None:
    (found,) = upstream.visit("sim", SimulatedProvider(kind="simulated")).findings
    assert (found.state, found.words) == ("ok", "SIMULATED, inside the gate")


@pytest.mark.parametrize(("ahead_s", "state"), [(0.0, "ok"), (20.0, "warning"), (-20.0, "warning"), (300.0, "failed")])
def test_its_date_tells_whether_our_clock_is_right(ahead_s: float, state: str) -> None:
    with provider(ahead_s=ahead_s) as server:
        seen = upstream.visit("up", settings(server.server_port))
    found = upstream.clock([seen.ahead_s, None])
    assert found.state == state
    assert state == "ok" or ("behind" in found.words) == (ahead_s > 0)


def test_one_provider_whose_clock_is_wrong_proves_nothing() -> None:
    assert upstream.clock([0.1, 9_000.0, -0.2]).state == "ok"
    assert upstream.clock([None]).state == "skipped"
