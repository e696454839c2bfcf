from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType

import pytest
from aiohappyeyeballs import AddrInfoType

import proxy.providers
from loadtests.upstream import Bill, Settings, start
from proxy.errors import ProxyError
from proxy.providers.base import UpstreamRequest, UpstreamResponse
from proxy.providers.transport import HttpTransport
from tests.proxy.providers.misbehaving import OK, Line, Upstream, always, once, upstream

OURS = str(Path(proxy.providers.__file__).parent)
CALLS_MAX = 34
PEM = Path(__file__).with_name("localhost.pem")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def transport() -> AsyncIterator[HttpTransport]:
    made = HttpTransport()
    try:
        yield made
    finally:
        await made.close()


async def whole(response: UpstreamResponse) -> bytes:
    pieces = []
    while piece := await response.read():
        pieces.append(piece)
    response.close()
    return b"".join(pieces)


async def fails(gate: HttpTransport, request: UpstreamRequest) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        await whole(await gate.send(request))
    assert "canary" not in str(caught.value) and "canary" not in repr(caught.value)
    return caught.value


# --- the request


async def test_the_request_is_on_the_wire_as_it_was_made_and_nothing_is_added() -> None:
    async with upstream(always(OK)) as peer, transport() as gate:
        request = UpstreamRequest("POST", peer.url("/v1/x%3Ay?api-version=1"), {"api-key": "k", "X-A": "b"}, b"{}")
        assert await whole(await gate.send(request)) == b"ok"
    assert peer.requests == [
        b"POST /v1/x%%3Ay?api-version=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\napi-key: k\r\nX-A: b\r\n"
        b"Content-Length: 2\r\n\r\n{}" % peer.port
    ]


async def test_a_large_body_arrives_whole() -> None:
    async with upstream(always(OK)) as peer, transport() as gate:
        assert await whole(await gate.send(peer.ask(b"x" * 5_000_000))) == b"ok"
    assert len(peer.requests[0]) > 5_000_000


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b"])
async def test_a_header_with_a_line_break_is_never_sent(value: str) -> None:
    async with upstream(always(OK)) as peer, transport() as gate:
        error = await fails(gate, peer.ask(b"", **{"Content-Type": value}))
    assert (error.code, error.sent, peer.connections) == ("internal", False, 0)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http:///x", "http://127.0.0.1/a b"])
async def test_an_address_that_is_none_is_refused(url: str) -> None:
    async with transport() as gate:
        error = await fails(gate, UpstreamRequest("POST", url, {}, b""))
    assert (error.code, error.sent) == ("upstream_unreachable", False)


# --- the reply


async def test_pieces_come_as_they_were_sent_and_none_waits_for_the_next() -> None:
    async with upstream(always(CHUNKED, b"4\r\ndata\r\n", b"2\r\n: \r\n", b"0\r\n\r\n")) as peer, transport() as gate:
        response = await gate.send(peer.ask())
        assert [await response.read() for _ in range(3)] == [b"data", b": ", b""]


async def test_headers_are_found_in_any_case() -> None:
    head = b"HTTP/1.1 429 No\r\nRETRY-AFTER: 7\r\nContent-Length: 0\r\n\r\n"
    async with upstream(always(head)) as peer, transport() as gate:
        response = await gate.send(peer.ask())
        assert (response.status, response.headers["retry-after"]) == (429, "7")
        assert await response.read() == b""


async def test_a_head_that_drips_in_is_understood() -> None:
    async with upstream(always(*[OK[at : at + 1] for at in range(len(OK))])) as peer, transport() as gate:
        assert await whole(await gate.send(peer.ask())) == b"ok"


async def test_a_reply_without_length_ends_with_its_connection() -> None:
    async with upstream(once(b"HTTP/1.0 200 OK\r\n\r\nall ", b"of it")) as peer, transport() as gate:
        assert await whole(await gate.send(peer.ask())) == b"all of it"


async def test_interim_heads_are_passed_over() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    async with upstream(always(interim * 3, OK)) as peer, transport() as gate:
        assert await whole(await gate.send(peer.ask())) == b"ok"


BROKEN_HEADS = {
    "not http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "illegal byte": b"HTTP/1.1 200 OK\r\nX-A: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "long line": b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 10_000 + b"\r\nContent-Length: 0\r\n\r\n",
    "flood": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(200)) + b"Content-Length: 0\r\n\r\n",
    "interim storm": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000 + OK,
    "switched protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "part of it": b"HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\n\r\nok",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "length and chunks": CHUNKED.replace(b"200 OK\r\n", b"200 OK\r\nContent-Length: 2\r\n") + b"0\r\n\r\n",
    "coded transfer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("head", BROKEN_HEADS.values(), ids=BROKEN_HEADS.keys())
async def test_a_head_that_cannot_begin_a_reply_is_broken_and_ends_the_connection(head: bytes) -> None:
    async with upstream(always(head)) as peer, transport() as gate:
        error = await fails(gate, peer.ask())
        assert (error.code, error.sent) == ("upstream_broken", True)
        await asyncio.sleep(0.1)
        assert (peer.connections, gate.open_connections) == (1, 0)


async def test_a_compressed_reply_is_refused_and_nothing_is_unpacked() -> None:
    body = gzip.compress(b"0" * 1_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with upstream(always(head + body)) as peer, transport() as gate:
        assert (await fails(gate, peer.ask())).code == "upstream_broken"
        assert gate.open_connections <= 1


CUT = {
    "in a chunk": (CHUNKED + b"a\r\nhalf",),
    "before the last chunk": (CHUNKED + b"4\r\nhalf\r\n",),
    "in a body of known length": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",),
    "bad chunk size": (CHUNKED + b"4\r\nhalf\r\n", b"zz\r\n"),
}


@pytest.mark.parametrize("reply", CUT.values(), ids=CUT.keys())
async def test_a_cut_body_is_broken_and_never_a_clean_end(reply: tuple[bytes, ...]) -> None:
    async with upstream(once(*reply)) as peer, transport() as gate:
        response = await gate.send(peer.ask())
        assert await response.read() == b"half"
        with pytest.raises(ProxyError) as caught:
            await response.read()
        assert caught.value.code == "upstream_broken"
        await asyncio.sleep(0.1)
        assert gate.open_connections == 0


@pytest.mark.parametrize("head", [CHUNKED + b"4\r\nhalf\r\n", b"HTTP/1.0 200 OK\r\n\r\nhalf"])
async def test_a_reset_in_the_body_is_broken(head: bytes) -> None:
    async def script(line: Line) -> None:
        await line.request()
        line.say(head)
        await asyncio.sleep(0.1)
        line.reset()

    async with upstream(script) as peer, transport() as gate:
        assert (await fails(gate, peer.ask())).code == "upstream_broken"


async def test_a_redirect_is_not_followed() -> None:
    async with upstream(always(OK)) as canary, transport() as gate:
        location = canary.url().encode()
        head = b"HTTP/1.1 307 Temporary\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"
        async with upstream(always(head)) as peer:
            response = await gate.send(peer.ask())
            assert (response.status, await whole(response)) == (307, b"")
        assert canary.connections == 0


async def test_a_cookie_is_not_kept() -> None:
    head = b"HTTP/1.1 200 OK\r\nSet-Cookie: tenant=canary; Path=/\r\nContent-Length: 2\r\n\r\nok"
    async with upstream(always(head)) as peer, transport() as gate:
        for _ in range(2):
            await whole(await gate.send(peer.ask()))
    assert len(peer.requests) == 2
    assert not any(b"canary; Path" in request or b"ookie" in request for request in peer.requests)


# --- the connection


async def test_a_reply_read_to_its_end_gives_its_connection_back() -> None:
    async with upstream(always(OK)) as peer, transport() as gate:
        for _ in range(5):
            assert await whole(await gate.send(peer.ask())) == b"ok"
        assert (peer.connections, len(peer.requests)) == (1, 5)


async def test_an_exchange_cancelled_before_the_head_closes_its_connection() -> None:
    gone = asyncio.Event()

    async def script(line: Line) -> None:
        await line.request()
        if line.number == 1:
            await line.gone()
            gone.set()
        else:
            line.say(OK)

    async with upstream(script) as peer, transport() as gate:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await gate.send(peer.ask())
        async with asyncio.timeout(0.1):
            await gone.wait()
        assert await whole(await gate.send(peer.ask())) == b"ok"
        assert peer.connections == 2


async def test_closing_a_reply_half_way_closes_its_connection_at_once() -> None:
    gone = asyncio.Event()

    async def script(line: Line) -> None:
        await line.request()
        line.say(CHUNKED + b"4\r\ndata\r\n")
        await line.gone()
        gone.set()

    async with upstream(script) as peer, transport() as gate:
        response = await gate.send(peer.ask())
        assert await response.read() == b"data"
        response.close()
        response.close()
        async with asyncio.timeout(0.1):
            await gone.wait()
        assert gate.open_connections == 0


async def test_closing_does_not_wait_for_a_request_body_that_nobody_reads() -> None:
    gone = asyncio.Event()

    async def script(line: Line) -> None:
        await line.reader.readuntil(b"\r\n\r\n")
        line.say(CHUNKED + b"4\r\nbusy\r\n")
        await asyncio.sleep(1)
        while await line.reader.read(1 << 20):
            pass
        gone.set()

    async with upstream(script) as peer, transport() as gate:
        response = await gate.send(peer.ask(b"x" * 30_000_000))
        assert await response.read() == b"busy"
        response.close()
        await gone.wait()
        assert gate.open_connections == 0


async def test_a_reply_that_overtakes_its_request_does_not_give_the_connection_back() -> None:
    async def script(line: Line) -> None:
        await line.reader.readuntil(b"\r\n\r\n")
        line.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await asyncio.sleep(60)

    async with upstream(script) as peer, transport() as gate:
        response = await gate.send(peer.ask(b"x" * 30_000_000))
        assert (response.status, await response.read()) == (413, b"")
        await asyncio.sleep(0.1)
        assert gate.open_connections == 0


async def test_closing_wakes_a_reader() -> None:
    async with upstream(always(CHUNKED)) as peer, transport() as gate:
        response = await gate.send(peer.ask())
        asyncio.get_running_loop().call_later(1, response.close)
        with pytest.raises(ProxyError) as caught:
            await response.read()
        assert caught.value.code == "upstream_broken"


async def test_a_cancelled_read_may_be_asked_again() -> None:
    async with upstream(always(CHUNKED, *[b""] * 50, b"4\r\nlate\r\n0\r\n\r\n")) as peer, transport() as gate:
        response = await gate.send(peer.ask())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await response.read()
        assert await whole(response) == b"late"


async def test_bytes_nobody_asked_for_are_no_ones_reply() -> None:
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

    async def script(line: Line) -> None:
        await line.request()
        line.say(OK)
        await asyncio.sleep(0.1)
        if line.number == 1:
            line.say(evil)
        await line.request()
        line.say(evil)

    async with upstream(script) as peer, transport() as gate:
        assert await whole(await gate.send(peer.ask())) == b"ok"
        await asyncio.sleep(1)
        assert await whole(await gate.send(peer.ask())) == b"ok"
        assert peer.connections == 2


async def test_a_second_reply_behind_the_first_spoils_the_connection() -> None:
    async with upstream(once(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")) as peer, transport() as gate:
        for _ in range(2):
            assert await whole(await gate.send(peer.ask())) == b"ok"
        assert peer.connections == 2


async def test_replies_meet_their_requests_while_others_are_cancelled() -> None:
    async def ask(gate: HttpTransport, url: str, number: int) -> None:
        body = b'{"model":"m","stream":true,"user":"n%d"}' % number
        response = await gate.send(UpstreamRequest("POST", url, {}, body))
        if number % 3 == 0:
            await response.read()
            response.close()
            return
        text = await whole(response)
        assert text.count(b'"id":"chatcmpl-n%d"' % number) == text.count(b'"id":"chatcmpl-') == 7

    server = await start("127.0.0.1", 0, settings=Settings(tokens=5, interval_ms=10), bill=(bill := Bill()))
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/chat/completions"
    async with transport() as gate:
        for round_ in range(4):
            await asyncio.gather(*[ask(gate, url, round_ * 30 + n) for n in range(30)])
        await asyncio.sleep(0.1)
        assert (bill.streams, bill.streams_cancelled, bill.streams_open) == (120, 40, 0)
        assert bill.connections < 120
    server.close()


async def test_a_close_that_was_announced_and_an_old_version_are_taken_at_their_word() -> None:
    for head in (b"HTTP/1.1 200 OK\r\nConnection: close", b"HTTP/1.0 200 OK"):
        async with upstream(always(head + b"\r\nContent-Length: 2\r\n\r\nok")) as peer, transport() as gate:
            for _ in range(2):
                assert await whole(await gate.send(peer.ask())) == b"ok"
            assert (peer.connections, len(peer.requests)) == (2, 2)


async def test_a_connection_is_not_used_beyond_its_time() -> None:
    async with upstream(always(OK)) as peer:
        gate = HttpTransport(keep_alive_s=60.0)
        for pause_s in (59, 61):
            assert await whole(await gate.send(peer.ask())) == b"ok"
            await asyncio.sleep(pause_s)
        assert (peer.connections, gate.open_connections) == (1, 0)
        await gate.close()


async def test_what_is_read_after_the_end_is_the_end() -> None:
    async with upstream(always(OK)) as peer, transport() as gate:
        first = await gate.send(peer.ask())
        assert await whole(first) == b"ok"
        second = await gate.send(peer.ask())
        assert (await first.read(), await second.read()) == (b"", b"ok")
        second.close()
        with pytest.raises(ProxyError):
            await second.read()


async def test_an_exchange_on_a_kept_connection_costs_a_few_calls_of_ours() -> None:
    counted: Counter[str] = Counter()

    def count(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            counted[frame.f_code.co_qualname] += 1

    async with upstream(always(OK)) as peer, transport() as gate:
        await whole(await gate.send(peer.ask()))
        sys.setprofile(count)
        try:
            await whole(await gate.send(peer.ask()))
        finally:
            sys.setprofile(None)
    assert 10 < counted.total() <= CALLS_MAX, counted


# --- no reply at all


async def test_a_fresh_connection_that_closes_without_answer_is_not_tried_again() -> None:
    async with upstream(once()) as peer, transport() as gate:
        error = await fails(gate, peer.ask())
        assert (error.code, error.sent, len(peer.requests)) == ("upstream_unreachable", True, 1)


async def test_a_reset_before_the_head_may_have_been_billed() -> None:
    async def script(line: Line) -> None:
        await line.request()
        line.reset()

    async with upstream(script) as peer, transport() as gate:
        error = await fails(gate, peer.ask())
        assert (error.code, error.sent, len(peer.requests)) == ("upstream_unreachable", True, 1)


async def test_a_connection_that_closed_while_idle_costs_no_call() -> None:
    async with upstream(once(OK)) as peer, transport() as gate:
        for _ in range(3):
            assert await whole(await gate.send(peer.ask())) == b"ok"
            await asyncio.sleep(1)
        assert peer.connections == 3


def ends_second_exchange(*, after_s: float, say: bytes = b"") -> Upstream:
    async def script(line: Line) -> None:
        await line.request()
        line.say(OK)
        await line.request()
        await asyncio.sleep(after_s)
        line.say(say)

    return Upstream(script)


async def served(peer: Upstream) -> asyncio.Server:
    server = await asyncio.start_server(peer.accept, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    return server


async def test_a_request_that_crossed_the_closing_of_an_idle_connection_goes_out_once_more_on_a_fresh_one() -> None:
    peer = ends_second_exchange(after_s=0)
    server = await served(peer)
    async with transport() as gate:
        for _ in range(2):
            assert await whole(await gate.send(peer.ask())) == b"ok"
    assert (peer.connections, len(peer.requests)) == (2, 3)
    server.close()


@pytest.mark.parametrize(("after_s", "say"), [(1.0, b""), (0, b"HT")], ids=["late", "answered a little"])
async def test_what_the_upstream_may_have_begun_is_not_asked_twice(after_s: float, say: bytes) -> None:
    peer = ends_second_exchange(after_s=after_s, say=say)
    server = await served(peer)
    async with transport() as gate:
        assert await whole(await gate.send(peer.ask())) == b"ok"
        error = await fails(gate, peer.ask())
        assert (error.code, error.sent) == ("upstream_unreachable", True)
    assert (peer.connections, len(peer.requests)) == (1, 2)
    server.close()


async def test_the_second_sending_skips_every_idle_connection_and_is_the_last() -> None:
    answering = True

    async def script(line: Line) -> None:
        while True:
            await line.request()
            if not answering:
                return
            await asyncio.sleep(0.1)
            line.say(OK)

    async with upstream(script) as peer, transport() as gate:
        responses = await asyncio.gather(*[gate.send(peer.ask()) for _ in range(4)])
        for response in responses:
            await whole(response)
        before = (peer.connections, len(peer.requests))
        answering = False
        error = await fails(gate, peer.ask())
        assert (error.code, error.sent) == ("upstream_unreachable", True)
        assert (peer.connections - before[0], len(peer.requests) - before[1]) == (1, 2)
        await asyncio.sleep(0.1)
        assert gate.open_connections == 0


async def test_the_caller_is_told_before_the_first_byte_leaves_and_only_then() -> None:
    async with upstream(always(OK)) as peer, transport() as gate:
        seen = []
        await whole(await gate.send(peer.ask(), lambda: seen.append((peer.connections, len(peer.requests)))))
        assert seen == [(1, 0)] or seen == [(0, 0)]  # the upstream may not have been told of its connection yet
        with pytest.raises(ProxyError):
            await gate.send(UpstreamRequest("POST", "http://127.0.0.1:1/v1", {}, b""), lambda: seen.append((9, 9)))
        assert len(seen) == 1


async def test_a_refused_connection_was_never_billed() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: nobody else can take the port either
        url = f"http://user:canary@127.0.0.1:{taken.getsockname()[1]}/v1"
        async with transport() as gate:
            error = await fails(gate, UpstreamRequest("POST", url, {}, b""))
    assert (error.code, error.sent, error.status) == ("upstream_unreachable", False, 502)


async def test_a_connection_that_is_never_accepted_is_a_timeout_and_was_never_billed() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        callers = [socket.socket() for _ in range(4)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(full.getsockname())
        async with transport() as gate:
            url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
            error = await fails(gate, UpstreamRequest("POST", url, {}, b""))
        for caller in callers:
            caller.close()
    assert (error.code, error.sent, error.status) == ("upstream_timeout", False, 504)


async def no_such_name(host: str, port: int) -> list[AddrInfoType]:
    raise OSError(None, "name unknown: canary")


@pytest.mark.parametrize("host", ["nowhere.test", "a" * 70 + ".test"])
async def test_a_name_that_does_not_resolve_was_never_billed(host: str) -> None:
    gate = HttpTransport(resolve=no_such_name)
    error = await fails(gate, UpstreamRequest("POST", f"http://{host}/v1", {}, b""))
    assert (error.code, error.sent) == ("upstream_unreachable", False)
    assert host in error.message
    await gate.close()


async def test_a_closed_transport_sends_nothing() -> None:
    async with upstream(always(OK)) as peer:
        gate = HttpTransport()
        await whole(await gate.send(peer.ask()))
        await gate.close()
        error = await fails(gate, peer.ask())
        await asyncio.sleep(0.1)
    assert (error.code, error.sent, gate.open_connections, len(peer.requests)) == ("shutting_down", False, 0, 1)


async def test_a_transport_closed_while_it_connects_sends_nothing() -> None:
    async def slowly(host: str, port: int) -> list[AddrInfoType]:
        await asyncio.sleep(1)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

    async with upstream(always(OK)) as peer:
        gate = HttpTransport(resolve=slowly)
        asyncio.get_running_loop().call_later(0.5, gate._pool.close)
        url = peer.url().replace("127.0.0.1", "up.test")
        error = await fails(gate, UpstreamRequest("POST", url, {}, b""))
        await asyncio.sleep(0.1)
    assert (error.sent, gate.open_connections, peer.requests) == (False, 0, [])


# --- TLS


def certified() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(PEM)
    return context


async def test_an_unknown_authority_ends_the_attempt_before_the_request() -> None:
    async with upstream(always(OK), tls=certified()) as peer, transport() as gate:
        error = await fails(gate, peer.ask())
    assert (error.code, error.sent, peer.requests) == ("upstream_unreachable", False, [])
    assert "certificate" in error.message


async def test_an_added_authority_is_trusted_for_the_names_it_certified() -> None:
    gate = HttpTransport(tls=ssl.create_default_context(cafile=str(PEM)))
    async with upstream(always(OK), tls=certified()) as peer:
        for _ in range(2):
            assert await whole(await gate.send(peer.ask())) == b"ok"
        assert peer.connections == 1
    await gate.close()


async def test_a_peer_that_speaks_no_tls_is_unreachable() -> None:
    async def script(line: Line) -> None:
        line.say(b"SSH-2.0-OpenSSH_9.2\r\n")

    async with upstream(script) as peer, transport() as gate:
        peer.scheme = "https"
        error = await fails(gate, peer.ask())
    assert (error.code, error.sent) == ("upstream_unreachable", False)


def test_a_context_that_does_not_verify_is_refused() -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    with pytest.raises(ValueError, match="verify"):
        HttpTransport(tls=context)
