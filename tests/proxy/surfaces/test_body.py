"""Bodies through the whole gate; sizes, times and encodings that are refused stand in `tests/flow/test_refusals.py`."""

from __future__ import annotations

import asyncio

import pytest

from proxy.snapshot import Limits
from proxy.surfaces.connection import Connection
from proxy.surfaces.request import Request
from tests.flow.world import World, head, plain, read_response

GOOD = b'{"model":"m","messages":[]}'
PATH = "/v1/chat/completions"
CHUNKED = "Transfer-Encoding: chunked\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def test_a_body_that_comes_byte_by_byte_is_the_body() -> None:
    async with World(plain) as world:
        reader, writer = await world.connect()
        writer.write(head(GOOD, path=PATH))
        for byte in GOOD:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.01)
        assert (await read_response(reader)).status == 200
        assert world.outcomes[0].call.raw == GOOD


async def test_a_length_may_begin_with_any_number_of_zeros() -> None:
    async with World(plain) as world:
        reader, writer = await world.connect()
        writer.write(head(GOOD, path=PATH, headers=f"Content-Length: {'0' * 5000}{len(GOOD)}\r\n"))
        await asyncio.sleep(0.1)
        writer.write(GOOD)
        assert (await read_response(reader)).status == 200


async def test_a_length_beyond_the_limit_is_refused_before_the_body_comes() -> None:
    async with World(plain, limits=Limits(body_bytes_max=1000)) as world:
        reader, writer = await world.connect()
        writer.write(head(b"", path=PATH, headers="Content-Length: 1001\r\nExpect: 100-continue\r\n"))
        response = await read_response(reader)
        assert (response.status, response.headers["connection"]) == (413, "close")


@pytest.mark.parametrize("size", [1000, 1001])
async def test_the_limit_is_a_size_that_is_still_allowed(size: int) -> None:
    body = GOOD + b" " * (size - len(GOOD))
    async with World(plain, limits=Limits(body_bytes_max=1000)) as world:
        assert (await world.request(body)).status == (200 if size == 1000 else 413)
        in_chunks = chunk(body[:500]) + chunk(body[500:]) + b"0\r\n\r\n"
        assert (await world.request(in_chunks, headers=CHUNKED)).status == (200 if size == 1000 else 413)


async def test_a_body_that_breaks_off_in_its_framing_is_a_400_with_one_outcome() -> None:
    async with World(plain) as world:
        reader, writer = await world.connect()
        writer.write(head(b"", path=PATH, headers=CHUNKED) + chunk(b'{"model"'))
        await asyncio.sleep(0.1)
        writer.write(b"XYZ\r\n")
        response = await read_response(reader)
        assert (response.status, response.error["code"]) == (400, "invalid_request")
        assert await reader.read() == b""
        assert len(world.outcomes) == 1


async def test_a_broken_body_that_came_at_once_is_a_400_as_well() -> None:
    async with World(plain) as world:
        reader, writer = await world.connect()
        writer.write(head(b"", path=PATH, headers=CHUNKED) + b"XYZ\r\n")
        response = await read_response(reader)
        assert (response.status, response.error["code"]) == (400, "invalid_request")
        assert await reader.read() == b""


async def test_who_sends_its_body_without_waiting_is_not_told_to_continue() -> None:
    async with World(plain) as world:
        assert (await world.request(GOOD, headers="Expect: 100-Continue\r\n")).status == 200


async def test_an_offer_of_http2_is_not_taken_and_the_call_is_served() -> None:
    """Java's client makes one with its first request."""
    offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEA\r\n"
    async with World(plain) as world:
        reader, writer = await world.connect()
        for _ in range(2):
            writer.write(head(GOOD, path=PATH, headers=offer))
            await asyncio.sleep(0.1)
            writer.write(GOOD)
            assert (await read_response(reader)).status == 200


async def test_a_connection_carries_bodies_of_all_kinds_one_after_another() -> None:
    chunked = head(b"", path=PATH, headers=CHUNKED) + chunk(GOOD) + b"0\r\nX-Headgate-Run: forged\r\n\r\n"
    async with World(plain) as world:
        reader, writer = await world.connect()
        for wire in (chunked, head(GOOD, path=PATH) + GOOD, head(b"", path="/health", method="GET"), chunked):
            writer.write(wire)
            assert (await read_response(reader)).status == 200
        assert [outcome.call.raw for outcome in world.outcomes] == [GOOD] * 3
        assert [outcome.call.identity.run for outcome in world.outcomes] == [None] * 3


async def test_a_body_whose_reader_comes_late_goes_on_coming() -> None:
    body = GOOD + b" " * 2_000_000
    async with World(plain) as world:
        assert world._server is not None
        serve = world._server.handler

        async def later(request: Request, connection: Connection) -> bool:
            await asyncio.sleep(1)
            return await serve(request, connection)

        world._server.handler = later
        assert (await world.request(body)).status == 200
