"""Against real servers on loopback: what answers decides, not what is configured."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from proxy.config.probe import models_on

MODELS = b'{"object": "list", "data": [{"id": "qwen3", "object": "model"}, {"id": "llama3:8b"}]}'


@contextmanager
def serving(pages: Mapping[str, bytes]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path)
            self.send_response(404 if page is None else 200)
            self.end_headers()
            self.wfile.write(page or b"")

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_engine_tells_its_models() -> None:
    with serving({"/v1/models": MODELS}) as port:
        assert models_on(port) == ("qwen3", "llama3:8b")


def test_another_gate_is_no_engine() -> None:
    with serving({"/v1/models": MODELS, "/health/live": b"ok"}) as port:
        assert models_on(port) is None


@pytest.mark.parametrize(
    "page", [b"", b"<html>", b"[]", b'{"data": {}}', b'{"data": [{"name": 1}]}', b"[" * 100_000, b'{"data": "\xff"}']
)
def test_something_else_on_the_port_is_no_engine(page: bytes) -> None:
    with serving({"/v1/models": page}) as port:
        assert models_on(port) is None


def test_a_closed_port_is_no_engine() -> None:
    with serving({}) as port:
        pass
    assert models_on(port) is None
