"""Idempotent replay over sockets: a call with a name of its own is paid for once, however often it comes."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from policies.cache_rules import CacheRules
from policies.retry import Retry
from proxy.caching.process import process
from proxy.snapshot import AgentRules
from proxy.types import KeyRecord
from tests.flow.world import DONE, KEY, REPLY, Peer, Response, World, head, plain, read_response, streaming

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0.9}'
STREAM = BODY[:-1] + b',"stream":true}'
PATH = "/agents/a/runs/r/v1/chat/completions"
NAMED = "Idempotency-Key: step-1\r\n"
BY_RUN = AgentRules(cache=CacheRules(replay="run"))
OFF = AgentRules(cache=CacheRules(replay="off"))


def asked(world: World) -> int:
    return sum(len(upstream.requests) for upstream in world.upstreams)


async def ask(world: World, body: bytes = BODY, headers: str = NAMED, path: str = PATH, key: str = KEY) -> Response:
    return await world.request(body, path=path, headers=headers, key=key)


async def slow(peer: Peer) -> None:
    await asyncio.sleep(5)
    await peer.reply(REPLY)


def said(reply: Response) -> str:
    return reply.headers["x-headgate-cache"]


@pytest.mark.parametrize(("script", "body"), [(plain, BODY), (streaming, STREAM)], ids=["plain", "stream"])
async def test_a_named_call_is_answered_again_for_nothing(script: object, body: bytes) -> None:
    async with World(script) as world:  # type: ignore[arg-type]
        first = await ask(world, body)
        again = await ask(world, body)
        assert (said(first), said(again)) == ("miss", "replay")
        assert again.body == first.body
        assert again.complete
        assert world.outcomes[1].cost_usd_nanos == 0
        assert world.outcomes[1].reused is not None
        assert world.outcomes[1].reused.cache == "replay"
    assert asked(world) == 1


async def test_the_name_for_another_question_is_refused() -> None:
    async with World(plain) as world:
        await ask(world)
        other = await ask(world, BODY.replace(b"hi", b"ho"))
        assert (other.status, other.error["code"]) == (422, "idempotency_conflict")
        assert other.error["param"] == "Idempotency-Key"
        assert said(await ask(world)) == "replay"
    assert asked(world) == 1


async def test_the_name_for_another_question_is_refused_while_the_first_runs() -> None:
    async with World(slow) as world:
        first = asyncio.ensure_future(ask(world))  # noqa: TID251
        await asyncio.sleep(1)
        assert (await ask(world, BODY.replace(b"hi", b"ho"))).status == 422
        assert (await first).status == 200
    assert asked(world) == 1


@pytest.mark.parametrize(
    ("path", "key"),
    [(PATH.replace("/r/", "/s/"), KEY), (PATH.replace("/a/", "/b/"), KEY), (PATH, "hg-another-key")],
    ids=["other run", "other agent", "other tenant"],
)
async def test_the_same_name_elsewhere_is_another_name(path: str, key: str) -> None:
    async with World(plain) as world:
        world.keys.records["hg-another-key"] = KeyRecord("key-2")
        await ask(world)
        assert said(await ask(world, path=path, key=key)) == "miss"
    assert asked(world) == 2


async def test_the_call_in_flight_is_joined() -> None:
    async with World(slow) as world:
        replies = await asyncio.gather(*[ask(world) for _ in range(50)])
        assert {reply.body for reply in replies} == {REPLY}
        assert sorted({said(reply) for reply in replies}) == ["join", "miss"]
    assert asked(world) == 1


async def test_a_call_that_failed_was_none() -> None:
    calls = 0

    async def fails_once(peer: Peer) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            await peer.reply(b'{"error":{"message":"broken"}}', status="500 Internal Server Error")
        else:
            await peer.reply(REPLY)

    async with World(fails_once, retry=Retry(attempts=1)) as world:
        assert (await ask(world)).status == 500
        assert (await ask(world)).status == 200
        assert said(await ask(world)) == "replay"


async def test_a_call_whose_client_left_was_none() -> None:
    async with World(slow) as world:
        _, writer = await world.connect()
        writer.write(head(BODY, path=PATH, headers=NAMED) + BODY)
        await asyncio.sleep(1)
        writer.close()
        await asyncio.sleep(1)
        assert said(await ask(world)) == "miss"
    assert asked(world) == 2


async def test_a_process_that_was_killed_has_billed_nothing_twice(tmp_path: Path) -> None:
    """A hundred calls of an orchestrator that dies after the fiftieth, as does the gate, and starts again."""
    file = tmp_path / "caches.db"
    upstream_calls = 0
    for first_time in (True, False):
        async with World(plain, caches_at=file) as world:
            for step in range(50 if first_time else 100):
                reply = await ask(world, BODY.replace(b"hi", b"%d" % step), f"Idempotency-Key: step-{step}\r\n")
                assert said(reply) == ("miss" if first_time or step >= 50 else "replay")
            upstream_calls += asked(world)
    assert upstream_calls == 100


async def test_a_reply_is_on_the_disk_before_the_client_has_all_of_it(tmp_path: Path) -> None:
    file = tmp_path / "caches.db"
    async with World(streaming, caches_at=file) as world:
        reader, writer = await world.connect()
        writer.write(head(STREAM, path=PATH, headers=NAMED) + STREAM)
        received = b""
        while DONE not in received:
            received += await reader.read(65536)
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as disk:
            assert disk.execute("SELECT state FROM replay").fetchall() == [("done",)]


async def test_what_another_process_has_begun_is_not_begun_again(tmp_path: Path) -> None:
    file = tmp_path / "caches.db"
    async with World(plain, caches_at=file) as world:
        await ask(world)
        with sqlite3.connect(file) as disk:
            disk.execute("UPDATE replay SET state = 'pending', owner = ?", (process(os.getppid()),))
        busy = await ask(world)
        assert (busy.status, busy.error["code"]) == (409, "idempotency_pending")
        assert busy.headers["retry-after"] == "1"
        with sqlite3.connect(file) as disk:
            disk.execute("UPDATE replay SET owner = '4194305@1'")  # above the highest number of a process
        assert said(await ask(world)) == "miss", "its process has died, and it with it"


async def test_without_a_name_a_run_that_is_resumed_pays_nothing_twice() -> None:
    async with World(plain, rules=BY_RUN) as world:
        await ask(world, headers="")
        assert said(await ask(world, headers="")) == "replay"
        assert said(await ask(world, headers="Cache-Control: no-cache\r\n")) != "replay"
        assert said(await ask(world, headers="", path=PATH.replace("/r/", "/s/"))) == "miss"
        assert said(await ask(world, headers="", path="/agents/a/v1/chat/completions")) == "off", "of no run"


async def test_without_a_name_nothing_is_replayed_unless_that_is_asked_for() -> None:
    async with World(plain) as world:
        await ask(world, headers="")
        assert said(await ask(world, headers="")) == "off"
    assert asked(world) == 2


async def test_it_can_be_turned_off() -> None:
    async with World(plain, rules=OFF) as world:
        await ask(world)
        assert said(await ask(world)) == "off"
    assert asked(world) == 2


@pytest.mark.parametrize("name", ["x" * 256, "\x7f"])
async def test_a_name_that_is_none_is_refused(name: str) -> None:
    async with World(plain) as world:
        reply = await ask(world, headers=f"Idempotency-Key: {name}\r\n")
        assert reply.status == 400
    assert asked(world) == 0


async def test_a_reply_that_is_too_long_to_be_joined_is_not_paid_twice() -> None:
    """Nobody can join it any more, so the same name has to wait until it is done."""
    long = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 300_000)

    async def very_long(peer: Peer) -> None:
        await peer.stream_head()
        for _ in range(5):
            await peer.chunk(long)
            await asyncio.sleep(2)
        await peer.chunk(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n' + DONE)
        await peer.end()

    async with World(very_long) as world:
        reader, writer = await world.connect()
        writer.write(head(STREAM, path=PATH, headers=NAMED) + STREAM)
        first = asyncio.ensure_future(read_response(reader))  # noqa: TID251
        await asyncio.sleep(9)
        assert (await ask(world, STREAM)).status == 409
        assert (await first).complete
    assert asked(world) == 1
