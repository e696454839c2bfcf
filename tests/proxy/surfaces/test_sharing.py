"""A connection whose reply others want too: its client may leave, or not read, and what serves it goes on."""

from __future__ import annotations

import asyncio

import pytest

from proxy.surfaces.connection import BEHIND_BYTES_MAX, Connection
from proxy.surfaces.request import Request
from tests.proxy.surfaces.test_connection import Site, get, now, reply


class Serving:
    """Works for ten seconds, then answers."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.ended: str | None = None

    async def __call__(self, request: Request, connection: Connection) -> bool:
        self.began.set()
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise
        reply(connection, b"done")
        self.ended = "done"
        return True


async def test_it_is_served_on_when_its_client_has_left() -> None:
    serving = Serving()
    async with Site(serving) as site:
        _, writer = await site.connect()
        writer.write(get("/"))
        await serving.began.wait()
        connection = await site.only_connection()
        connection.stay()
        assert not connection.left
        writer.close()
        await asyncio.sleep(1)
        assert connection.left
        await asyncio.sleep(10)
        assert serving.ended == "done", "what it writes goes nowhere, and is no error"


async def test_when_nobody_else_wants_it_a_client_that_has_left_ends_it() -> None:
    serving = Serving()
    async with Site(serving) as site:
        _, writer = await site.connect()
        writer.write(get("/"))
        await serving.began.wait()
        connection = await site.only_connection()
        connection.stay()
        writer.close()
        await asyncio.sleep(1)
        connection.go()
        await asyncio.sleep(0)
        assert serving.ended == "cancelled"


async def test_a_client_that_is_still_there_is_not_ended_by_others_that_leave() -> None:
    serving = Serving()
    async with Site(serving) as site:
        reader, writer = await site.connect()
        writer.write(get("/"))
        await serving.began.wait()
        connection = await site.only_connection()
        connection.stay()
        connection.go()
        assert b"200" in await reader.readline()
        assert serving.ended == "done"


async def test_it_is_for_one_request() -> None:
    serving = Serving()
    async with Site(serving) as site:
        reader, writer = await site.connect()
        writer.write(get("/"))
        await serving.began.wait()
        connection = await site.only_connection()
        connection.stay()
        await reader.readuntil(b"done")
        writer.write(get("/"))
        await asyncio.sleep(5)
        writer.close()
        await asyncio.sleep(0.1)
        assert serving.ended == "cancelled"


@pytest.mark.parametrize("joined", ["before", "while it waits"])
async def test_a_client_that_does_not_read_is_not_waited_for_until_it_is_too_far_behind(joined: str) -> None:
    written, waited_s = 0, 0.0

    async def writing(request: Request, connection: Connection) -> bool:
        nonlocal written, waited_s
        if joined == "before":
            connection.stay()
        else:
            asyncio.get_running_loop().call_later(5, connection.stay)
        began = now()
        while not connection.transport.is_closing():
            connection.write(b"x" * 10_000)
            written += 10_000
            if connection.writing_paused:
                await connection.drain()
            await asyncio.sleep(0)
        waited_s = now() - began
        return False

    async with Site(writing) as site:
        reader, writer = await site.connect()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(get("/"))
        await asyncio.sleep(10)
        assert BEHIND_BYTES_MAX < written < 16 * BEHIND_BYTES_MAX
        assert waited_s == pytest.approx(0 if joined == "before" else 5, abs=0.1)
