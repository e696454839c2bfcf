"""With `ledger.strict` the end of a reply comes after the call is on the disk; without it nobody waits for that."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import structs

from policies.limits import Limit, LimitsByName
from proxy.errors import ProxyError
from proxy.types import Outcome
from tests.flow.world import DONE, FINISH, REPLY, ROLE, USAGE, Peer, World, plain, read_response, streaming, token

STREAM = b'{"model":"m","messages":[],"stream":true}'


class Disk:
    """Says when it is asked to keep what was told so far; `full`: it cannot."""

    def __init__(self, world: World, *, full: bool = False) -> None:
        self.asked: list[tuple[Outcome, ...]] = []
        self.may_go_on = asyncio.Event()
        self._world = world
        self._full = full
        world.on_disk = self.keep
        world.snapshot = structs.replace(world.snapshot, strict=True)

    async def keep(self) -> None:
        self.asked.append(tuple(self._world.outcomes))
        if self._full:
            raise ProxyError("ledger_unavailable", "the ledger could not be written")
        await self.may_go_on.wait()


async def got(reader: asyncio.StreamReader, seconds: float) -> bytes:
    data = b""
    try:
        async with asyncio.timeout(seconds):
            while piece := await reader.read(65536):
                data += piece
    except TimeoutError:
        pass
    return data


async def asked(world: World, body: bytes) -> asyncio.StreamReader:
    reader, writer = await world.connect()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer hg-test-key\r\n"
    writer.write(head + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return reader


async def test_a_plain_reply_waits_for_its_row() -> None:
    async with World(plain) as world:
        disk = Disk(world)
        reader = await asked(world, b'{"model":"m","messages":[]}')
        assert await got(reader, 5) == b""
        ((outcome,),) = disk.asked
        assert (outcome.status, outcome.cost_usd_nanos, outcome.bytes_out) == (200, 20_000, len(REPLY))
        assert world.store.live == 0
        disk.may_go_on.set()
        response = await read_response(reader)
        assert (response.status, response.body, response.complete) == (200, REPLY, True)


async def test_a_stream_waits_with_its_last_event_alone() -> None:
    async def slow(peer: Peer) -> None:
        await peer.stream_head()
        for event in (ROLE, token("hel"), token("lo"), FINISH, USAGE, DONE):
            await peer.chunk(event)
            await asyncio.sleep(0.5)
        await peer.end()

    async with World(slow) as world:
        disk = Disk(world)
        reader = await asked(world, STREAM)
        early = await got(reader, 10)
        assert FINISH in early and DONE not in early
        ((outcome,),) = disk.asked
        assert (outcome.status, outcome.cost_usd_nanos) == (200, 20_000)
        assert outcome.gaps is not None and sum(outcome.gaps.counts) >= 3
        disk.may_go_on.set()
        assert DONE in await got(reader, 5)
        assert len(disk.asked) == 1


async def test_a_stream_that_comes_at_once_waits_whole() -> None:
    async def at_once(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(ROLE + token("hello") + FINISH + USAGE + DONE)
        await peer.end()

    async with World(at_once) as world:
        disk = Disk(world)
        reader = await asked(world, STREAM)
        assert b"hello" not in await got(reader, 5)
        assert len(disk.asked[0]) == 1
        disk.may_go_on.set()
        assert DONE in await got(reader, 5)


async def test_a_stream_that_is_cut_for_its_budget_waits_with_the_end_that_the_gate_gives_it() -> None:
    async def endless(peer: Peer) -> None:
        await peer.stream_head()
        for _ in range(2_000):
            await peer.chunk(token("word " * 8))
            await asyncio.sleep(0.01)

    async with World(endless, limits_of=LimitsByName({}, {"key": (Limit("tokens", 1_500),)})) as world:
        disk = Disk(world)
        reader = await asked(world, STREAM)
        assert b'"length"' not in await got(reader, 60)
        ((outcome,),) = disk.asked
        assert outcome.attempts[0].usage is not None and "cut" in outcome.attempts[0].usage.flags
        disk.may_go_on.set()
        assert b'"length"' in await got(reader, 5)


@pytest.mark.parametrize("body", [b'{"model":"m","messages":[]}', STREAM], ids=["plain", "stream"])
async def test_a_reply_whose_row_cannot_be_written_does_not_end_well(body: bytes) -> None:
    async with World(streaming if body is STREAM else plain) as world:
        Disk(world, full=True)
        response = await world.request(body)
        assert b"ledger_unavailable" in response.body
        assert DONE not in response.body
        assert response.status == 503 or not response.complete


async def test_otherwise_nobody_waits_for_the_disk() -> None:
    async with World(plain) as world:
        disk = Disk(world)
        world.snapshot = structs.replace(world.snapshot, strict=False)
        assert (await world.request()).status == 200
        assert (await world.stream()).status == 200
        assert disk.asked == []
