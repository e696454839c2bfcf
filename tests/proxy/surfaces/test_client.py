"""How a reply ends and what becomes of its connection; streams themselves are in `tests/flow/test_stream.py`."""

from __future__ import annotations

import asyncio

import pytest

from proxy.snapshot import Limits
from proxy.surfaces.client import PART, Client
from proxy.surfaces.request import Body, Request
from tests.flow.world import DONE, FINISH, KEY, REPLY, ROLE, Peer, World, head, plain, read_response, streaming, token

PLAIN = b'{"model":"m","messages":[]}'
STREAM = b'{"model":"m","messages":[],"stream":true}'
PATH = "/v1/chat/completions"


def old(body: bytes, headers: str = "") -> bytes:
    """A request before HTTP/1.1."""
    told = f"POST {PATH} HTTP/1.0\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n{headers}"
    return f"{told}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def test_before_http_1_1_a_stream_ends_with_its_connection() -> None:
    async with World(streaming) as world:
        reader, writer = await world.connect()
        writer.write(old(STREAM, "Connection: keep-alive\r\n"))
        start, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert start.startswith(b"HTTP/1.0 200 OK\r\n")
        assert b"chunked" not in start and b"Connection" not in start
        assert body == ROLE + token("hel") + token("lo") + FINISH + DONE


async def test_before_http_1_1_a_cut_stream_is_a_reset() -> None:
    async def cut(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(ROLE + token("hel"))
        await asyncio.sleep(0.1)
        peer.reset()

    async with World(cut) as world:
        reader, writer = await world.connect()
        writer.write(old(STREAM))
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await asyncio.sleep(0.1)
        assert world.outcomes[0].error_code == "upstream_broken"


@pytest.mark.parametrize(("connection", "kept"), [("", False), ("Connection: keep-alive\r\n", True)])
async def test_before_http_1_1_a_connection_is_kept_for_who_asks(connection: str, kept: bool) -> None:
    async with World(plain) as world:
        reader, writer = await world.connect()
        for _ in range(2 if kept else 1):
            writer.write(old(PLAIN, connection))
            response = await read_response(reader)
            assert (response.status, response.body) == (200, REPLY)
            assert response.headers.get("connection") == ("keep-alive" if kept else None)
        assert kept or await reader.read() == b""


async def test_who_asks_for_an_end_of_the_connection_is_told_and_gets_it() -> None:
    async with World(plain) as world:
        reader, writer = await world.connect()
        writer.write(head(PLAIN, path=PATH, headers="Connection: close\r\n") + PLAIN)
        assert (await read_response(reader)).headers["connection"] == "close"
        assert await reader.read() == b""


async def test_a_reply_during_a_stop_says_that_it_is_the_last_one() -> None:
    async def slow(peer: Peer) -> None:
        await asyncio.sleep(5)
        await plain(peer)

    async with World(slow) as world:
        reader, writer = await world.connect()
        writer.write(head(PLAIN, path=PATH) + PLAIN)
        await asyncio.sleep(1)
        assert world._server is not None
        world._server.pre_shutdown()
        response = await read_response(reader)
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert await reader.read() == b""


async def test_an_answer_without_a_body_says_no_length() -> None:
    async with World(plain) as world:
        response = await world.request(b"", method="OPTIONS", path="/v1/models")
        assert response.status == 204
        assert not {"content-length", "transfer-encoding"} & response.headers.keys()


@pytest.mark.parametrize("limit", ["write", "deadline"])
async def test_a_whole_reply_waits_for_its_client_only_so_long(limit: str) -> None:
    async def big(peer: Peer) -> None:
        await peer.reply(REPLY.replace(b"hello", b"x" * 20_000_000))

    seconds = {"write": 5.0, "deadline": 1000.0}[limit]  # the deadline of the call is 20 seconds
    async with World(big, limits=Limits(write_timeout_s=seconds)) as world:
        _, writer = await world.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(head(PLAIN, path=PATH, headers="X-Headgate-Deadline: 20\r\n") + PLAIN)
        await asyncio.sleep(30)
        assert world.outcomes[0].client_gone
        assert world._server is not None
        assert not world._server.connections


class Slow:
    """A connection and its transport, emptied by a tenth every `step_s`."""

    def __init__(self, step_s: float) -> None:
        self.writing_paused = self.closing = False
        self.transport = self
        self._step_s = step_s
        self._began = 0.0

    def write(self, data: bytes) -> None:
        self.writing_paused = True
        self._began = asyncio.get_running_loop().time()

    def get_write_buffer_size(self) -> int:
        steps = int((asyncio.get_running_loop().time() - self._began) / self._step_s)
        self.writing_paused = steps < 10
        return 1000 - 100 * steps


async def test_a_large_reply_is_written_in_parts_between_which_others_are_served() -> None:
    body, written, served = Body(), list[bytes](), 0
    body.end()
    connection = Slow(1.0)
    connection.writing_paused = False
    connection.write = written.append  # type: ignore[method-assign]

    async def serve() -> None:
        nonlocal served
        while True:
            served += 1
            await asyncio.sleep(0)

    other = asyncio.get_running_loop().create_task(serve())
    client = Client(Request("POST", PATH, {}, True, True, body), connection, 2.0)  # type: ignore[arg-type]  # as above
    reply = bytes(range(256)) * 4_096
    await client.whole(200, [], reply)
    other.cancel()
    assert b"".join(written).partition(b"\r\n\r\n")[2] == reply
    assert max(map(len, written)) < 2 * PART
    assert served >= len(reply) // PART - 1


@pytest.mark.parametrize(("step_s", "taken"), [(1.5, True), (2.5, False)])
async def test_a_whole_reply_that_is_taken_slowly_but_steadily_arrives(step_s: float, taken: bool) -> None:
    body = Body()
    body.end()
    connection = Slow(step_s)
    request = Request("POST", PATH, {}, True, True, body)
    client = Client(request, connection, 2.0)  # type: ignore[arg-type]  # as much of one as a reply needs
    if taken:
        await client.whole(200, [], REPLY)
        assert not connection.writing_paused
    else:
        with pytest.raises(ConnectionError, match="too slowly"):
            await client.whole(200, [], REPLY)
