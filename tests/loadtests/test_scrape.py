"""The measurement of scrapes: its gate has a valid configuration, its calls are checked, its figures are shares."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from loadtests import scrape
from proxy.config.load import load


def test_its_gate_has_a_valid_configuration(tmp_path: Path) -> None:
    file = tmp_path / "headgate.yaml"
    file.write_text(scrape.configuration(tmp_path, (1, 2, 3), models=4, agents=5, workers=2))
    config = load(file, {})
    assert (len(config.models), len(config.agents), config.admin.port, config.server.workers) == (4, 5, 2, 2)


def test_a_summary_ranks() -> None:
    told = scrape.summary([(5.0, 5.0 + number / 1000) for number in range(1000, 0, -1)])
    assert told == {"count": 1000, "p50_ms": 501, "p95_ms": 951, "p99_ms": 991, "max_ms": 1000}


def test_a_call_has_met_a_scrape_when_any_of_it_lies_within_one() -> None:
    calls = [(0.0, 0.9), (0.9, 1.1), (1.2, 1.3), (1.9, 2.5), (2.1, 2.2)]
    assert scrape.met(calls, [(1.0, 2.0)]) == calls[1:4]


def test_what_is_added_is_told_of_the_calls_that_met_a_scrape() -> None:
    seen = scrape.Seen([(0.0, 0.002)], [(0.5, 0.501), (1.0, 1.005)], [(1.0, 1.1)], 13_000)
    told = scrape.report(seen)
    assert told["added to them"] == {"p50_ms": 3.0, "p95_ms": 3.0, "p99_ms": 3.0, "max_ms": 3.0}
    assert told["at most 2 ms at p99"] is False


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
            for _ in range(2):  # the first one leaves nothing behind
                began, ended = await scrape.call(reader, writer)
                assert ended >= began
        else:
            with pytest.raises(SystemExit, match="429"):
                await scrape.call(reader, writer)
    finally:
        writer.close()
        server.close()
