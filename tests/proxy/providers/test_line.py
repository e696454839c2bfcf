"""One connection over real sockets, in virtual time and on uvloop."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import uvloop

from proxy.providers.dial import Dialer, Origin
from proxy.providers.line import PAUSE_BYTES, Line
from proxy.providers.pool import Pool
from proxy.providers.reply import Replies
from tests import loop as virtual
from tests.proxy.providers.misbehaving import OK, Script, always, once, upstream
from tests.proxy.providers.misbehaving import Line as Peer

PEM = Path(__file__).with_name("localhost.pem")
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
Ending = tuple[bytes, bool, str]  # body, whole, fault
UNTIL_THE_END = b"HTTP/1.1 200 OK\r\n\r\n"


class Caller:
    def __init__(self, pool: Pool, origin: Origin, tls: ssl.SSLContext | None) -> None:
        self.pool = pool
        self._origin = origin
        self._dialer = Dialer(5.0, tls=tls, resolve=None)

    async def connect(self) -> Line:
        return await self._dialer.dial(
            self._origin, partial(Line, self.pool, self._origin.key, asyncio.get_running_loop())
        )

    async def exchange(self, line: Line) -> bytes:
        line.ask(HEAD, b"{}")
        pieces = []
        while not line.reply.ended and line.alive:
            await line.change()
            pieces.append(line.take())
        return b"".join(pieces)


@asynccontextmanager
async def caller(script: Script, *, tls: bool = False) -> AsyncIterator[Caller]:
    async with upstream(script, tls=certified() if tls else None) as peer:
        pool = Pool(keep_alive_s=60)
        origin = Origin(scheme=peer.scheme, host="127.0.0.1", port=peer.port, place=f"127.0.0.1:{peer.port}")
        yield Caller(pool, origin, ssl.create_default_context(cafile=str(PEM)) if tls else None)
        pool.close()
        await asyncio.sleep(0)


def certified() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(PEM)
    return context


async def test_bytes_at_rest_end_a_line() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(OK)
        await asyncio.sleep(0.1)
        peer.say(b"\r")
        await peer.gone()

    async with caller(script) as client:
        line = await client.connect()
        assert await client.exchange(line) == b"ok"
        line.release()
        assert repr(line).endswith("idle, 1 exchanges)")
        await asyncio.sleep(1)
        assert repr(line).endswith("dead, 1 exchanges)") and len(client.pool) == 0


async def test_a_line_whose_request_is_still_on_its_way_does_not_serve_again() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.say(OK)
        await asyncio.sleep(60)

    async with caller(script) as client:
        line = await client.connect()
        line.ask(HEAD, b"x" * 30_000_000)
        await line.change()
        assert line.take() == b"ok" and line.reply.reusable
        line.release()
        assert not line.alive


async def test_a_line_whose_reply_was_not_taken_does_not_serve_again() -> None:
    async with caller(always(OK)) as client:
        line = await client.connect()
        line.ask(HEAD, b"{}")
        await line.change()
        assert line.reply.ended
        assert line.release() == len(b"ok")
        assert not line.alive


async def test_whoever_leaves_hears_how_much_had_come_for_nobody() -> None:
    """A provider may bill what it has made, read or not."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + bytes(2_000_000))
        await peer.gone()

    async with caller(script) as client:
        line = await client.connect()
        line.ask(HEAD, b"{}")
        await line.change()
        await asyncio.sleep(1)
        held, unread = line.reply.held, line.release()
        assert unread > held > 0, "what stood in the socket counts"
        assert unread < 2_000_000, "the socket does not take whatever comes"


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
        line = await client.connect()
        await client.exchange(line)
        await client.exchange(line)
        assert not line.alive and line.closed_while_idle() == idle


async def test_a_first_exchange_never_ends_an_idle_line() -> None:
    async with caller(once()) as client:
        line = await client.connect()
        await client.exchange(line)
        assert not line.alive and not line.closed_while_idle()


async def test_the_socket_waits_for_its_reader_and_goes_on_when_it_comes() -> None:
    said = 0

    async def script(peer: Peer) -> None:
        nonlocal said
        await peer.request()
        peer.say(UNTIL_THE_END)
        while True:
            peer.say(b"x" * 65_536)
            await peer.writer.drain()
            said += 65_536

    async with caller(script) as client:
        line = await client.connect()
        line.ask(HEAD, b"{}")
        await asyncio.sleep(1)
        held, before = line.reply.held, said
        await asyncio.sleep(1)
        assert held == line.reply.held <= PAUSE_BYTES + 262_144 and before == said
        for _ in range(100):
            line.take()
            await asyncio.sleep(0.1)
        assert line.reply.held > 0 and said > before


async def test_a_reply_that_came_whole_before_its_reader_survives_the_end_of_its_connection() -> None:
    body = b"x" * 300_000
    async with caller(once(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + body)) as client:
        line = await client.connect()
        line.ask(HEAD, b"{}")
        pieces = []
        while not line.reply.ended or line.reply.pieces:
            await asyncio.sleep(1)
            pieces.append(line.take())
        assert b"".join(pieces) == body


async def test_a_fault_ends_a_line_before_anyone_reads() -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
    async with caller(always(chunks + b"zz\r\n")) as client:
        line = await client.connect()
        line.ask(HEAD, b"{}")
        await asyncio.sleep(1)
        assert len(client.pool) == 0 and line.take() == b"ok"


async def test_an_upstream_that_ends_while_the_request_is_on_its_way_is_not_waited_for() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.say(UNTIL_THE_END + b"no")
        peer.writer.write_eof()
        await asyncio.sleep(60)

    async with caller(script) as client:
        line = await client.connect()
        line.ask(HEAD, b"x" * 30_000_000)
        async with asyncio.timeout(1):
            while not line.reply.ended:
                await line.change()
        assert line.take() == b"no"
        await asyncio.sleep(0)
        assert len(client.pool) == 0


async def test_a_cancelled_wait_may_be_asked_again() -> None:
    async with caller(once(*[b""] * 9, OK)) as client:
        line = await client.connect()
        line.ask(HEAD, b"{}")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await line.change()
        await line.change()
        assert line.take() == b"ok"


async def test_a_line_that_is_gone_leaves_nothing_behind() -> None:
    async with caller(once(OK)) as client:
        gc.collect()
        gc.disable()
        try:
            before = _replies()
            line = await client.connect()
            await client.exchange(line)
            await asyncio.sleep(1)
            del line
            assert _replies() == before
        finally:
            gc.enable()


def _replies() -> int:
    return sum(type(thing) is Replies for thing in gc.get_objects())


# --- TLS, and both event loops


async def end_of_body(*, announced: bool, tls: bool) -> Ending:
    """How a body ends that only the end of its connection delimits."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(UNTIL_THE_END + b"all of it")
        await peer.writer.drain()
        if not announced:
            await peer.request()  # the second one says that the reply is in
            peer.writer.transport.abort()

    async with caller(script, tls=tls) as client:
        line = await client.connect()
        line.ask(HEAD, b"{}")
        while not line.reply.pieces:
            await line.change()
        line._transport.write(HEAD + b"{}")
        while line.alive:
            await line.change()
        return line.take(), line.reply.ended, line.reply.fault


@pytest.mark.parametrize("run", [virtual.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize(("announced", "tls", "ended"), [(True, True, True), (False, True, False), (True, False, True)])
def test_a_body_under_tls_ends_only_where_the_end_is_announced(
    run: Callable[[Coroutine[None, None, Ending]], Ending], announced: bool, tls: bool, ended: bool
) -> None:
    body, whole, fault = run(end_of_body(announced=announced, tls=tls))
    assert (body, whole, bool(fault)) == (b"all of it", ended, not ended)


async def exchanges(*, tls: bool) -> Ending:
    async with caller(always(OK), tls=tls) as client:
        line = await client.connect()
        bodies = [await client.exchange(line) for _ in range(3)]
        line.release()
        return b"".join(bodies), line.alive, line.reply.fault


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_exchanges_follow_one_another_on_uvloop(tls: bool) -> None:
    assert uvloop.run(exchanges(tls=tls)) == (b"okokok", True, "")
