"""The measurement of scrapes: its gate has a valid configuration, its calls are checked, its figures are shares."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from loadtests import scrape
from proxy.config.load import load


def test_its_gate_has_a_valid_configuration(tmp_path: Path) -> None:
    file = tmp_path / "headgate.yaml"
    file.write_text(scrape.configuration(tmp_path, 1, 2, upstream=3, models=4, agents=5))
    config = load(file, {})
    assert (len(config.models), len(config.agents), config.admin.port) == (4, 5, 2)


def test_a_summary_ranks() -> None:
    told = scrape.summary([number / 1000 for number in range(1000, 0, -1)])
    assert told == {"count": 1000, "p50_ms": 501, "p95_ms": 951, "p99_ms": 991, "p99.9_ms": 1000}


@pytest.mark.parametrize(("status", "good"), [("200 OK", True), ("429 Too Many Requests", False)])
async def test_a_call_reads_all_of_a_good_reply_and_takes_no_other(status: str, good: bool) -> None:
    reply = f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}".encode()

    class Answer(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.WriteTransport)
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(reply)

    server = await asyncio.get_running_loop().create_server(Answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        if good:
            assert await scrape.call(reader, writer) >= 0
            assert await scrape.call(reader, writer) >= 0, "the first one left nothing behind"
        else:
            with pytest.raises(SystemExit, match="429"):
                await scrape.call(reader, writer)
    finally:
        writer.close()
        server.close()
