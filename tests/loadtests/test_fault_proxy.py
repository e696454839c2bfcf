from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from loadtests.fault_proxy import Fault, FaultProxy, Then, Way

SAID = bytes(range(256)) * 4


@asynccontextmanager
async def between(fault: Fault) -> AsyncIterator[tuple[FaultProxy, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client, the proxy, and a server that says `SAID` to whoever says anything and then echoes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):
            writer.write(SAID)
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy = FaultProxy("127.0.0.1", server.sockets[0].getsockname()[1], fault)
    await proxy.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield proxy, reader, writer
    finally:
        writer.close()
        await proxy.stop()
        server.close()
        await asyncio.sleep(1)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_without_a_fault_everything_passes_both_ways_to_its_end() -> None:
    async with between(Fault()) as (proxy, reader, writer):
        writer.write(b"?" + b"back")
        writer.write_eof()
        assert await reader.read(-1) == SAID + b"back"
        assert proxy.connections == 1


async def test_every_piece_is_as_late_as_it_should_be() -> None:
    async with between(Fault(up=Way(delay=2.0), down=Way(delay=3.0))) as (_, reader, writer):
        began = now()
        writer.write(b"?")
        assert await reader.readexactly(len(SAID)) == SAID
        assert now() - began == pytest.approx(5.0, abs=0.1)


async def test_pieces_are_chopped_and_nothing_is_lost() -> None:
    async with between(Fault(down=Way(slice=100, gap=1.0))) as (_, reader, writer):
        began = now()
        writer.write(b"?")
        assert len(await reader.read(65536)) <= 100
        assert len(await reader.readexactly(len(SAID) - 100)) == len(SAID) - 100
        assert now() - began == pytest.approx(10.0, abs=0.1), "eleven pieces, ten gaps"


@pytest.mark.parametrize(("then", "orderly"), [("close", True), ("half_close", True), ("reset", False)])
async def test_after_so_many_bytes_it_ends_as_told(then: Then, orderly: bool) -> None:
    async with between(Fault(down=Way(bytes=300, gap=0.5, slice=100, then=then))) as (_, reader, writer):
        writer.write(b"?")
        assert await reader.readexactly(300) == SAID[:300]
        if orderly:
            assert await reader.read(-1) == b""
        else:
            with pytest.raises(ConnectionResetError):
                await reader.read(-1)


async def test_after_a_half_close_the_other_direction_still_passes() -> None:
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SAID)
        while data := await reader.read(65536):
            heard.extend(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    way = Way(bytes=10, then="half_close")
    proxy = FaultProxy("127.0.0.1", server.sockets[0].getsockname()[1], Fault(down=way))
    await proxy.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await reader.read(-1) == SAID[:10]
    writer.write(b"still here")
    await asyncio.sleep(1)
    assert heard == b"still here"
    writer.close()
    await proxy.stop()
    server.close()


@pytest.mark.parametrize("fault", [Fault(black_hole=True), Fault(down=Way(then="swallow"))], ids=["all", "one way"])
async def test_a_black_hole_takes_everything_and_answers_nothing(fault: Fault) -> None:
    async with between(fault) as (_, reader, writer):
        writer.write(b"?")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await reader.read(1)


async def test_who_is_refused_is_reset_at_once() -> None:
    async with between(Fault(refuse=True)) as (_, reader, _writer):
        with pytest.raises(ConnectionResetError):
            await reader.read(1)


async def test_a_fault_that_begins_later_holds_for_open_connections_too_and_all_can_be_dropped() -> None:
    async with between(Fault()) as (proxy, reader, writer):
        writer.write(b"?")
        await reader.readexactly(len(SAID))
        proxy.fault = Fault(up=Way(delay=60.0))
        began = now()
        for _ in range(2):  # what was being waited for when the fault began passes as before
            writer.write(b"again")
            await reader.readexactly(5)
        assert now() - began >= 60
        proxy.drop()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
