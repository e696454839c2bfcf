"""Calls to an engine of one's own pay for its time: shared, held, refused, and charged however they end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from itertools import count

import pytest

from policies.limits import Limit, LimitsByName
from pricing.gpu import GpuRate
from tests.flow.world import DONE, FINISH, ROLE, USAGE, Peer, Response, Script, World, head, plain, token

RATE = GpuRate(3_600_000_000_000)  # 1,000 USD an hour: a second costs 1,000,000,000 nano-dollars
SECOND = 1_000_000_000
BODY = b'{"model":"m","messages":[],"max_tokens":100}'  # at first 3 s are foreseen for it


def limited(*limits: Limit) -> LimitsByName:
    return LimitsByName({"key:key-1": limits})


async def two_seconds(peer: Peer) -> None:
    await asyncio.sleep(2)
    await plain(peer)


async def failing(peer: Peer) -> None:
    await asyncio.sleep(2)
    await peer.reply(b'{"error":{"message":"no"}}', status="400 Bad Request")


async def endless(peer: Peer) -> None:
    await peer.stream_head()
    await peer.chunk(ROLE)
    for _ in range(100):
        await peer.chunk(token("word "))
        await asyncio.sleep(1)


async def five_seconds(peer: Peer) -> None:
    await peer.stream_head()
    await peer.chunk(ROLE)
    for _ in range(5):
        await peer.chunk(token("word "))
        await asyncio.sleep(1)
    for event in (FINISH, USAGE, DONE):
        await peer.chunk(event)
    await peer.end()


async def after(seconds: float, reply: Awaitable[Response]) -> Response:
    await asyncio.sleep(seconds)
    return await reply


def near(seconds: float) -> object:
    """The sockets of a flow take a moment, the virtual clock does not."""
    return pytest.approx(seconds * SECOND, abs=SECOND / 100)


async def test_two_calls_at_the_same_time_share_what_the_time_costs() -> None:
    async with World(two_seconds, gpu=RATE) as world:
        replies = await asyncio.gather(world.request(BODY), after(1, world.request(BODY)))
        assert [reply.status for reply in replies] == [200, 200]
        costs = [outcome.cost_usd_nanos or 0 for outcome in world.outcomes]
        assert costs == [near(1.5), near(1.5)]
        assert world.gpu is not None
        account = world.gpu.stretch(world.clock.now())
        assert sum(costs) == account.charged_usd_nanos
        assert 0 <= account.charged_usd_nanos - RATE.cost_usd_nanos(account.busy_s) <= len(costs)
        (attempt,) = world.outcomes[0].attempts
        assert attempt.gpu_s is not None
        assert attempt.cost_usd_nanos == RATE.cost_usd_nanos(attempt.gpu_s)
        assert attempt.usage is not None
        assert (attempt.usage.input_total, attempt.usage.output_total) == (10, 5)  # tokens are known, and free
        assert world.store.account("key:key-1").posted_usd_nanos == sum(costs)


async def test_a_reply_says_what_its_time_cost() -> None:
    async with World(two_seconds, gpu=RATE) as world:
        reply = await world.request(BODY)
        assert float(reply.headers["x-headgate-cost-usd"]) == pytest.approx(2.0, abs=0.01)


async def test_an_error_of_the_engine_is_paid_for_like_an_answer() -> None:
    async with World(failing, gpu=RATE) as world:
        assert (await world.request(BODY)).status == 400
        (attempt,) = world.outcomes[0].attempts
        assert (attempt.usage, attempt.cost_usd_nanos) == (None, near(2))
        assert world.store.account("key:key-1").posted_usd_nanos == attempt.cost_usd_nanos


async def test_a_client_that_leaves_has_used_the_time_until_then() -> None:
    body = b'{"model":"m","messages":[],"stream":true}'
    async with World(endless, gpu=RATE) as world:
        reader, writer = await world.connect()
        writer.write(head(body, path="/v1/chat/completions") + body)
        await reader.readuntil(b"word")
        await asyncio.sleep(3.5)
        writer.close()
        await asyncio.sleep(5)
        (attempt,) = world.outcomes[0].attempts
        assert world.outcomes[0].client_gone
        assert attempt.cost_usd_nanos == near(3.5)


async def test_a_call_that_was_never_sent_costs_nothing() -> None:
    async with World(plain, gpu=RATE) as world:
        await world.upstreams[0].stop()
        assert (await world.request(BODY)).status == 502
        assert all(attempt.cost_usd_nanos == 0 and attempt.gpu_s is None for attempt in world.outcomes[0].attempts)
        assert world.gpu is not None
        assert world.gpu.stretch(world.clock.now()).charged_usd_nanos == 0


async def test_a_strict_limit_holds_the_engine_until_the_deadline() -> None:
    limit = Limit("usd", 25 * SECOND, hold="strict")
    async with World(two_seconds, gpu=RATE, limits_of=limited(limit)) as world:
        refused = await world.request(BODY, headers="X-Headgate-Deadline: 30\r\n")
        assert (refused.status, refused.error["code"]) == (402, "budget_exceeded")
        assert world.upstreams[0].requests == []
        reply = await world.request(BODY, headers="X-Headgate-Deadline: 20\r\n")
        assert reply.status == 200
        (attempt,) = world.outcomes[-1].attempts
        assert attempt.held_usd_nanos == near(20.25)
        (usd,) = world.store.standing("key:key-1")
        assert (usd.totals.spent, usd.totals.overrun, usd.held) == (attempt.cost_usd_nanos, 0, 0)


async def test_a_call_that_its_deadline_ends_stays_within_a_strict_hold() -> None:
    async with World(endless, gpu=RATE, limits_of=limited(Limit("usd", 50 * SECOND, hold="strict"))) as world:
        await world.stream(headers="X-Headgate-Deadline: 10\r\n")
        (attempt,) = world.outcomes[0].attempts
        assert world.outcomes[0].error_code == "deadline_exceeded"
        assert attempt.cost_usd_nanos == near(10)
        (usd,) = world.store.standing("key:key-1")
        assert (usd.totals.spent, usd.totals.overrun) == (attempt.cost_usd_nanos, 0)


async def test_other_limits_hold_what_such_calls_took_and_share_with_those_that_run() -> None:
    async with World(two_seconds, gpu=RATE) as world:
        for _ in range(2):
            await world.request(BODY)
        both = await asyncio.gather(world.request(BODY), world.request(BODY))
        assert [reply.status for reply in both] == [200, 200]
        held = [outcome.attempts[0].held_usd_nanos for outcome in world.outcomes]
        assert held[:2] == [near(1 + 100 * 0.02), near(2)]
        assert sorted(held[2:]) == [near(1), near(2)]


async def test_a_stream_that_takes_longer_than_foreseen_is_charged_in_full() -> None:
    body = b'{"model":"m","messages":[],"stream":true,"max_tokens":50}'
    async with World(five_seconds, gpu=RATE, limits_of=limited(Limit("usd", 100 * SECOND))) as world:
        reply = await world.stream(body)
        assert reply.complete
        (attempt,) = world.outcomes[0].attempts
        assert attempt.cost_usd_nanos == near(5)
        (usd,) = world.store.standing("key:key-1")
        assert usd.totals.spent == attempt.cost_usd_nanos


async def test_a_retry_pays_for_the_time_of_both_attempts() -> None:
    async def broken(peer: Peer) -> None:
        await asyncio.sleep(1)
        peer.reset()

    async with World(broken, two_seconds, gpu=RATE) as world:
        assert (await world.request(BODY)).status == 200
        costs = [attempt.cost_usd_nanos for attempt in world.outcomes[0].attempts]
        assert costs == [near(1), near(2)]


STREAM = b'{"model":"m","messages":[],"stream":true,"max_tokens":10000}'


def slow_after_a_quick_one(seconds: int) -> Script:
    """The first call teaches that two seconds are usual; each later one takes longer."""
    asked = count()

    async def script(peer: Peer) -> None:
        if not next(asked):
            await two_seconds(peer)
            return
        await peer.stream_head()
        await peer.chunk(ROLE)
        for _ in range(seconds):
            for _ in range(5):
                await peer.chunk(token("word " * 50))
                await asyncio.sleep(0.2)
        for event in (FINISH, DONE):
            await peer.chunk(event)
        await peer.end()

    return script


async def test_a_hold_grows_ahead_of_the_time_that_a_stream_takes() -> None:
    async with World(slow_after_a_quick_one(10), gpu=RATE, limits_of=limited(Limit("usd", 100 * SECOND))) as world:
        await world.request(BODY)
        assert (await world.stream(STREAM)).complete
        (attempt,) = world.outcomes[-1].attempts
        assert attempt.cost_usd_nanos == near(10)
        assert attempt.held_usd_nanos == near(14)  # the last time at nine seconds
        (usd,) = world.store.standing("key:key-1")
        assert (usd.totals.spent, usd.totals.overrun) == (near(12), 0)


async def test_a_stream_ends_before_its_time_costs_more_than_the_budget_has() -> None:
    async with World(slow_after_a_quick_one(100), gpu=RATE, limits_of=limited(Limit("usd", 9 * SECOND))) as world:
        await world.request(BODY)
        reply = await world.stream(STREAM)
        assert reply.complete
        assert b'"length"' in reply.body
        (attempt,) = world.outcomes[-1].attempts
        assert attempt.usage is not None
        assert "cut" in attempt.usage.flags
        (usd,) = world.store.standing("key:key-1")
        assert usd.totals.overrun == 0
        assert 7 * SECOND < usd.totals.spent <= 9 * SECOND
