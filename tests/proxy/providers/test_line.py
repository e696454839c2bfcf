"""What `line` relies on in aiohttp, and adds to it: a new aiohttp that behaves otherwise fails here first."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientPayloadError, ClientTimeout, ServerDisconnectedError
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from yarl import URL

from proxy.providers import line as line_module
from proxy.providers.line import Line, Pool
from tests.proxy.providers.misbehaving import OK, Script, always, once, upstream
from tests.proxy.providers.misbehaving import Line as Peer

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"


class Caller:
    def __init__(self, pool: Pool, url: str) -> None:
        self.pool = pool
        self._request = ClientRequest("POST", URL(url), loop=asyncio.get_running_loop())

    async def connect(self) -> tuple[Connection, Line]:
        connection = await self.pool.connect(self._request, [], ClientTimeout())
        line = connection.protocol
        assert isinstance(line, Line)
        return connection, line

    async def exchange(self) -> Line:
        connection, line = await self.connect()
        line.ask(HEAD, b"{}")
        _, payload = await line.read()
        while await payload.readany():
            pass
        assert line.reusable()
        connection.release()
        return line


@asynccontextmanager
async def caller(script: Script) -> AsyncIterator[Caller]:
    async with upstream(script) as peer:
        pool = Pool(keep_alive_s=60)
        yield Caller(pool, peer.url())
        await pool.close()


async def test_the_pool_hands_out_the_line_it_got_back() -> None:
    async with caller(always(OK)) as client:
        first, second = await client.exchange(), await client.exchange()
        assert first is second and first.exchanges == 2
        assert client.pool.open_connections == 1


async def test_open_connections_are_counted_until_they_are_gone() -> None:
    async with caller(always(OK)) as client:
        lines = [await client.connect() for _ in range(3)]
        assert client.pool.open_connections == 3
        for connection, line in lines:
            line.abort()
            connection.close()
        await asyncio.sleep(0.01)
        assert client.pool.open_connections == 0


async def test_bytes_at_rest_spoil_a_line() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(OK)
        await asyncio.sleep(0.1)
        peer.say(b"HTTP/1.1 20")
        await peer.gone()

    async with caller(script) as client:
        line = await client.exchange()
        assert not line.should_close
        await asyncio.sleep(1)
        assert line.should_close


async def test_a_line_whose_request_is_still_on_its_way_is_not_reusable() -> None:
    async def script(peer: Peer) -> None:
        await asyncio.sleep(60)

    async with caller(script) as client:
        connection, line = await client.connect()
        line.ask(HEAD, b"x" * 30_000_000)
        assert not line.reusable()
        line.abort()
        connection.close()


@pytest.mark.parametrize(
    ("after_s", "say", "idle"), [(0.0, b"", True), (0.4, b"", True), (0.6, b"", False), (0.0, b"H", False)]
)
async def test_an_end_is_an_idle_one_only_at_once_and_without_a_byte(after_s: float, say: bytes, idle: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(OK)
        await peer.request()
        peer.say(say)
        await asyncio.sleep(after_s)

    async with caller(script) as client:
        await client.exchange()
        connection, line = await client.connect()
        line.ask(HEAD, b"{}")
        with pytest.raises(ServerDisconnectedError):
            await line.read()
        assert line.closed_while_idle() == idle
        connection.close()


async def test_a_first_exchange_never_ends_an_idle_line() -> None:
    async with caller(once()) as client:
        connection, line = await client.connect()
        line.ask(HEAD, b"{}")
        with pytest.raises(ServerDisconnectedError):
            await line.read()
        assert not line.closed_while_idle()
        connection.close()


@pytest.mark.parametrize("bad", [b"zz\r\n", b"-1\r\n"])
async def test_a_bad_chunk_reaches_whoever_reads_the_body(bad: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with caller(once(head, bad)) as client:
        connection, line = await client.connect()
        line.ask(HEAD, b"{}")
        _, payload = await line.read()
        with pytest.raises(ClientPayloadError):
            await payload.readany()
        connection.close()


async def test_the_socket_waits_for_its_reader() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.say(b"x" * 65_536)
            await peer.writer.drain()

    async with caller(script) as client:
        connection, line = await client.connect()
        line.ask(HEAD, b"{}")
        _, payload = await line.read()
        await asyncio.sleep(1)
        held = payload.total_bytes
        await asyncio.sleep(1)
        assert held == payload.total_bytes <= 4 * line_module.READ_BYTES + 262_144
        line.abort()
        connection.close()


async def test_nothing_is_unpacked_on_the_way() -> None:
    packed = gzip.compress(b"0" * 10_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    async with caller(always(head + packed)) as client:
        connection, line = await client.connect()
        line.ask(HEAD, b"{}")
        _, payload = await line.read()
        assert await payload.readany() == packed
        connection.close()
