"""What can go wrong beside a known answer: a disk, a caller who leaves, a budget, a reload, a strict ledger."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec import structs

from policies.cache_rules import CacheRules
from policies.limits import Limit, LimitsByName
from policies.retry import Retry
from proxy.caching.cabinet import Cabinet
from proxy.caching.desk import Caches
from proxy.caching.stock import Purge
from proxy.errors import ProxyError
from proxy.snapshot import AgentRules
from proxy.state.ledger import Ledger
from proxy.state.ledger_queries import LedgerReports
from proxy.state.report import RequestDetail
from tests.flow.test_cut import Talker, was_cut
from tests.flow.world import DONE, REPLY, ROLE, Peer, Response, World, head, plain, streaming, token

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0}'
STREAM = BODY[:-1] + b',"stream":true}'
PATH = "/agents/a/runs/r/v1/chat/completions"
NAMED = "Idempotency-Key: step-1\r\n"
CACHED = AgentRules(cache=CacheRules(exact="on"), retry=Retry(attempts=1))


def asked(world: World) -> int:
    return sum(len(upstream.requests) for upstream in world.upstreams)


async def ask(world: World, body: bytes = BODY, headers: str = "", path: str = PATH) -> Response:
    return await world.request(body, path=path, headers=headers)


def said(reply: Response) -> str:
    return reply.headers["x-headgate-cache"]


def decided(world: World, number: int = -1) -> list[str]:
    return [decision.said for decision in world.outcomes[number].decisions]


async def slow(peer: Peer) -> None:
    await asyncio.sleep(5)
    await peer.reply(REPLY)


# --- the disk --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("script", "body"), [(plain, BODY), (streaming, STREAM)], ids=["plain", "stream"])
async def test_a_disk_that_hangs_costs_a_call_no_deadline(script: object, body: bytes, tmp_path: Path) -> None:
    """At the lookup in the journal, at that in the cache and at the end of its reply."""
    async with World(script, rules=CACHED) as world:  # type: ignore[arg-type]
        told: list[str] = []
        world.caches._cabinet = Cabinet(tmp_path / "caches.db", told.append, world.clock.wall)
        world.caches._cabinet._send = lambda work: asyncio.get_running_loop().create_future()  # type: ignore[method-assign]
        began = world.clock.now()
        reply = await ask(world, body, NAMED + "X-Headgate-Deadline: 0.4\r\n")
        assert (reply.status, said(reply)) == (200, "miss")
        assert world.clock.now() - began < 0.4
        assert not told, "what a short wait is told of"
    assert asked(world) == 1


@pytest.mark.parametrize(("script", "body"), [(plain, BODY), (streaming, STREAM)], ids=["plain", "stream"])
async def test_calls_go_on_without_the_disk(script: object, body: bytes, tmp_path: Path) -> None:
    (tmp_path / "caches.db").write_bytes(b"nothing that SQLite knows" * 100)
    told: list[str] = []
    async with World(script, rules=CACHED) as world:  # type: ignore[arg-type]
        caches = Caches(world.clock, Cabinet(tmp_path / "caches.db", told.append, world.clock.wall))
        world.caches._cabinet = caches._cabinet
        first, again = await ask(world, body, NAMED), await ask(world, body, NAMED)
        assert (first.status, said(first)) == (200, "miss")
        assert (again.body, said(again)) == (first.body, "hit"), "from memory"
        assert len(told) == 1
        assert world.caches.disk[1] > 1
    assert asked(world) == 1


async def test_many_who_ask_after_a_restart_get_what_is_on_the_disk(tmp_path: Path) -> None:
    file = tmp_path / "caches.db"
    async with World(plain, rules=CACHED, caches_at=file) as world:
        await ask(world)
    async with World(plain, rules=CACHED, caches_at=file) as world:
        replies = await asyncio.gather(*[ask(world) for _ in range(50)])
        assert {reply.body for reply in replies} == {REPLY}
        assert {said(reply) for reply in replies} <= {"hit", "join"}
        assert asked(world) == 0


async def test_what_was_purged_is_asked_for_anew(tmp_path: Path) -> None:
    async with World(plain, rules=CACHED, caches_at=tmp_path / "caches.db") as world:
        await ask(world)
        hit = await ask(world)
        gone = await world.caches.purge(Purge(key=hit.headers["x-headgate-cache-key"]))
        assert (gone.in_memory, gone.on_disk) == (1, 1)
        assert said(await ask(world)) == "miss"
        await world.caches.purge(Purge(agent="b"))
        assert said(await ask(world)) == "hit"


# --- callers ---------------------------------------------------------------------------------------------------------


async def test_a_caller_who_leaves_while_the_disk_is_asked_leaves_nothing_behind(tmp_path: Path) -> None:
    async with World(plain, caches_at=tmp_path / "caches.db") as world:
        _, writer = await world.connect()
        asking = asyncio.Event()
        enter = world.caches._cabinet.enter

        async def seen(*given: object, **named: object) -> object:
            asking.set()
            return await enter(*given, **named)  # type: ignore[arg-type]

        world.caches._cabinet.enter = seen  # type: ignore[assignment,method-assign]
        writer.write(head(BODY, path=PATH, headers=NAMED) + BODY)
        await asking.wait()
        writer.transport.abort()
        await asyncio.sleep(1)
        assert len(world.outcomes) == 1
        assert world.caches._running == set()
        assert (await ask(world, BODY.replace(b"hi", b"ho"), NAMED)).status == 200, "the name is free again"


async def test_a_reply_that_is_too_long_says_so() -> None:
    long = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 400_000)

    async def very_long(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(ROLE)
        for _ in range(8):
            await peer.chunk(long)
        await peer.chunk(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n' + DONE)
        await peer.end()

    async with World(very_long, rules=CACHED) as world:
        assert (await ask(world, STREAM, NAMED)).complete
        assert "neither kept nor to be replayed: its reply is too long" in decided(world)
        assert (await world.caches.stock()).entries == 0


async def test_nothing_is_kept_of_a_call_that_says_so_and_it_says_why() -> None:
    async with World(plain, rules=CACHED) as world:
        await ask(world, headers=NAMED + "Cache-Control: no-store\r\n")
        assert "not kept: its caller wants that" in decided(world)
        assert said(await ask(world, headers=NAMED)) == "miss"


# --- money -----------------------------------------------------------------------------------------------------------


async def test_who_has_money_does_not_get_what_another_runs_budget_has_shortened() -> None:
    """Both are of one agent and ask the same; only one of them is near its end."""

    async def slowly(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(ROLE + token("a"))
        await asyncio.sleep(5)
        await peer.chunk(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n' + DONE)
        await peer.end()

    limits = LimitsByName({"run:key:key-1/r": (Limit("usd", 1_000_000, "total"),)})
    body = STREAM[:-1] + b',"max_tokens":1000}'
    async with World(slowly, rules=AgentRules(cache=CacheRules(exact="on")), limits_of=limits) as world:
        poor = asyncio.ensure_future(ask(world, body))  # noqa: TID251
        await asyncio.sleep(1)
        rich = await ask(world, body, path=PATH.replace("/r/", "/s/"))
        shortened = await poor
    assert shortened.headers["x-headgate-output-clamped"] == "434"
    assert (rich.status, said(rich)) == (200, "miss")
    assert "x-headgate-output-clamped" not in rich.headers
    assert asked(world) == 2
    assert "went its own way: a budget has shortened it" in decided(world)


async def test_a_stream_that_a_budget_has_cut_answers_nobody_else() -> None:
    body = STREAM[:-1] + b',"max_tokens":4000}'
    limits = LimitsByName({"key:key-1": (Limit("tokens", 2_500),)})
    async with World(Talker(), rules=CACHED, limits_of=limits) as world:
        first = await ask(world, body, NAMED)
        assert was_cut(first)
        assert (await world.caches.stock()).entries == 0
        assert (await world.caches.stock()).on_disk["replay"].entries == 0


# --- the same step ---------------------------------------------------------------------------------------------------


async def test_a_step_that_is_taken_again_after_a_reload_is_the_same_step() -> None:
    async with World(plain, rules=CACHED) as world:
        await ask(world, headers=NAMED)
        world.snapshot = structs.replace(world.snapshot, revision="another")
        assert said(await ask(world)) == "miss", "to the cache it is another model"
        again = await ask(world, headers=NAMED)
        assert (again.status, said(again)) == (200, "replay")


@pytest.mark.parametrize(("script", "body"), [(plain, BODY), (streaming, STREAM)], ids=["plain", "stream"])
async def test_a_strict_ledger_and_the_journal_both_come_before_the_last_byte(script: object, body: bytes) -> None:
    async with World(script, rules=CACHED) as world:  # type: ignore[arg-type]
        world.snapshot = structs.replace(world.snapshot, strict=True)
        assert (await ask(world, body, NAMED)).complete

        async def fails() -> None:
            raise ProxyError("ledger_unavailable", "the disk is full")

        world.on_disk = fails
        other = body.replace(b"hi", b"ho")
        failed = await ask(world, other, "Idempotency-Key: step-2\r\n")
        assert failed.status == 503 or not failed.body.endswith(DONE)
        calls = asked(world)

        async def works() -> None:
            pass

        world.on_disk = works
        again = await ask(world, other, "Idempotency-Key: step-2\r\n")
        assert (again.status, said(again)) == (200, "replay"), "it was paid for, and its reply is known"
        assert asked(world) == calls


# --- in words --------------------------------------------------------------------------------------------------------


async def test_explain_tells_where_an_answer_came_from(tmp_path: Path) -> None:
    async with World(plain, rules=CACHED) as world:
        await ask(world, headers=NAMED)
        hit, replay = await ask(world), await ask(world, headers=NAMED)
        ledger = Ledger.open(tmp_path / "ledger.db")
        for outcome in world.outcomes:
            ledger.append(outcome)
        told = []
        for outcome in world.outcomes:
            detail = await LedgerReports(ledger).request(outcome.call.id)
            assert isinstance(detail, RequestDetail)
            told.append(" | ".join(detail.decision))
        assert "its answer is not in the exact cache" in told[0]
        assert "entered in the journal as" in told[0]
        assert f"(entry {hit.headers['x-headgate-cache-key']})" in told[1]
        assert "answered from the exact cache" in told[1]
        assert "answered 200 by cache" in told[1]
        assert said(replay) == "replay"
        assert "answered from the journal" in told[2]


async def test_a_name_that_was_answered_from_the_cache_stands_for_that_answer() -> None:
    rules = AgentRules(cache=CacheRules(exact="on", ttl_s=10))
    async with World(plain, rules=rules) as world:
        await ask(world)
        assert said(await ask(world, headers=NAMED)) == "hit"
        await world.caches._cabinet.purge(None, None, None)
        assert said(await ask(world, headers=NAMED)) == "hit", "its name is gone, and entered again"
        world.caches._shelf.purge(None, None, None)
        assert said(await ask(world, headers=NAMED)) == "replay"
        other = await ask(world, BODY.replace(b"hi", b"ho"), NAMED)
        assert (other.status, other.error["code"]) == (422, "idempotency_conflict")
    assert asked(world) == 1
