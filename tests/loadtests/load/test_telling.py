"""The gate is told of its users when there is something new to say, and at the end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from loadtests.load import telling
from loadtests.load.telling import AGAIN_S, Teller

Told = list[tuple[str, object]]


@pytest.fixture
def gate() -> Iterator[tuple[str, Told]]:
    told: Told = []

    class Admin(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.append((self.path, json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Not on the terminal."""

    server = HTTPServer(("127.0.0.1", 0), Admin)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", told
    server.shutdown()
    thread.join()
    server.server_close()


def users(told: Told) -> list[object]:
    return [body["users"] for _, body in told if isinstance(body, dict)]


def test_a_change_is_told_at_once_and_the_same_again_after_a_while(gate: tuple[str, Told]) -> None:
    url, told = gate
    at = [0.0]
    teller = Teller(url, "nightly", "ramp", lambda: at[0])
    for moment, count in ((0, 5), (1, 5), (2, 6), (3, 6), (2 + AGAIN_S, 6)):
        at[0] = moment
        teller.tell(count)
    assert users(told) == [5, 6, 6]
    assert told[0] == ("/loadtest", {"test": "nightly", "scenario": "ramp", "users": 5})


def test_the_end_is_told_too(gate: tuple[str, Told], monkeypatch: pytest.MonkeyPatch) -> None:
    url, told = gate
    monkeypatch.setattr(telling, "EVERY_S", 0)
    goes_on = iter([True, True, False])
    counts = iter([3, 4])
    Teller(url, "nightly", "ramp").keep(lambda: next(counts), lambda: next(goes_on))
    assert users(told) == [3, 4, 0]


def test_a_gate_that_is_not_there_stops_no_test() -> None:
    teller = Teller("http://127.0.0.1:9", "nightly", "ramp")
    teller.tell(1)
    assert teller.failed
