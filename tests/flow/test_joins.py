"""A client's retry joins the call that still runs for it: one upstream call, one bill, the whole reply for all."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from msgspec import structs

from policies.limits import Limit, LimitsByName
from policies.rate_limit import RateRules, Rates
from policies.retry import Retry
from proxy.execution import flight
from proxy.runs.registry import RunCommand
from proxy.snapshot import AgentRules, Limits
from proxy.types import KeyRecord, Outcome
from tests.effort import rounds
from tests.flow.test_survival import RULES as SURVIVING
from tests.flow.test_survival import STREAM as CHAT
from tests.flow.test_survival import Engine, assert_one_answer
from tests.flow.world import (
    DONE,
    FINISH,
    KEY,
    REPLY,
    ROLE,
    USAGE,
    Peer,
    Response,
    Script,
    World,
    head,
    plain,
    read_response,
    token,
)

PATH = "/agents/a/runs/r/v1/chat/completions"
PLAIN = b'{"model":"m","messages":[],"max_tokens":1000}'
STREAM = b'{"model":"m","messages":[],"prompt":"p","stream":true,"max_tokens":1000}'
AGAIN = "x-stainless-retry-count: 1\r\n"
WORDS = 20
NO_LIMITS = LimitsByName()  # over long replies
KEPT = Limits(join_bytes_max=100_000)


async def slow_plain(peer: Peer) -> None:
    await asyncio.sleep(20)
    await peer.reply(REPLY)


async def slow_stream(peer: Peer) -> None:
    """A word a second, the first after one."""
    await asyncio.sleep(1)
    await peer.stream_head()
    await peer.chunk(ROLE)
    for number in range(WORDS):
        await peer.chunk(token(f"w{number} "))
        await asyncio.sleep(1)
    await peer.chunk(FINISH + USAGE + DONE)
    await peer.end()


TEXT = ROLE + b"".join(token(f"w{number} ") for number in range(WORDS)) + FINISH + DONE

Sent = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def send(world: World, body: bytes, headers: str = "", path: str = PATH, key: str = KEY) -> Sent:
    reader, writer = await world.connect()
    writer.write(head(body, path=path, headers=headers, key=key) + body)
    return reader, writer


async def ask(world: World, body: bytes, headers: str = "", path: str = PATH, key: str = KEY) -> Response:
    reader, _ = await send(world, body, headers, path, key)
    return await read_response(reader)


def asked(world: World) -> int:
    return sum(len(upstream.requests) for upstream in world.upstreams)


def of_joined(world: World) -> Outcome:
    (found,) = (outcome for outcome in world.outcomes if outcome.served_by == "join")
    return found


@pytest.mark.parametrize("after_s", [0.5, 5.5], ids=["before the first token", "mid-stream"])
@pytest.mark.parametrize("body", [STREAM, PLAIN], ids=["stream", "plain"])
async def test_a_retry_gets_the_reply_of_the_call_that_runs_from_its_first_byte(body: bytes, after_s: float) -> None:
    async with World(slow_stream if body is STREAM else slow_plain) as world:
        reader, _ = await send(world, body)
        await asyncio.sleep(after_s)
        again = await ask(world, body, AGAIN)
        first = await read_response(reader)
        assert again.body == first.body == (TEXT if body is STREAM else REPLY)
        assert again.complete
        assert again.headers["x-headgate-served-by"] == "join"
        assert again.headers["x-headgate-attempts"] == "0"
        assert again.headers.get("x-headgate-cost-usd") == (None if body is STREAM else "0.000000")
        assert again.headers["x-headgate-target"] == first.headers["x-headgate-target"]
        assert again.headers["x-headgate-request-id"] != first.headers["x-headgate-request-id"]
    assert asked(world) == 1
    leader, joined = sorted(world.outcomes, key=lambda outcome: outcome.served_by != "primary")
    assert (joined.served_by, joined.status, joined.cost_usd_nanos, joined.attempts) == ("join", 200, 0, ())
    assert leader.cost_usd_nanos
    assert any(leader.call.id in decision.said for decision in joined.decisions)
    assert joined.charges == ()
    assert joined.duration_s - joined.upstream_s < 0.01, "waiting for the other is no overhead of the gate's"


async def test_the_reply_goes_on_live_for_who_has_joined() -> None:
    async with World(slow_stream) as world:
        await send(world, STREAM)
        await asyncio.sleep(5.5)
        reader, _ = await send(world, STREAM, AGAIN)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await reader.readuntil(b"w4 ")
        assert loop.time() == began, "what is there already comes at once"
        await reader.readuntil(b"w5 ")
        assert 0.4 < loop.time() - began < 0.6
        assert (await reader.read()).count(b"[DONE]") == 1


@pytest.mark.parametrize("body", [STREAM, PLAIN], ids=["stream", "plain"])
async def test_a_thousand_retries_of_one_call_are_one_call_upstream(body: bytes) -> None:
    async with World(slow_stream if body is STREAM else slow_plain) as world:
        await send(world, body)
        await asyncio.sleep(0.5)
        sent = [await send(world, body, AGAIN) for _ in range(rounds(1_000))]  # no more at once than a backlog holds
        replies = {(await read_response(reader)).body for reader, _ in sent}
        assert replies == {TEXT if body is STREAM else REPLY}
    assert asked(world) == 1
    assert len(world.outcomes) == 1 + rounds(1_000)
    assert [outcome.served_by for outcome in world.outcomes if outcome.cost_usd_nanos] == ["primary"]


@pytest.mark.parametrize(
    ("headers", "path", "body", "key"),
    [
        ("", PATH, STREAM, KEY),
        ("x-stainless-retry-count: 0\r\n", PATH, STREAM, KEY),
        (AGAIN, PATH, STREAM.replace(b"1000", b"1001"), KEY),
        (AGAIN, PATH, STREAM.replace(b"1000}", b"1000} "), KEY),
        (AGAIN, PATH.replace("/r/", "/s/"), STREAM, KEY),
        (AGAIN, PATH.replace("/a/", "/b/"), STREAM, KEY),
        (AGAIN, PATH.replace("chat/completions", "completions"), STREAM, KEY),
        (AGAIN, PATH, STREAM, "hg-another-key"),
    ],
    ids=["no retry", "retry 0", "other body", "other bytes", "other run", "other agent", "other endpoint", "other key"],
)
async def test_nothing_else_joins(headers: str, path: str, body: bytes, key: str) -> None:
    async with World(slow_stream) as world:
        world.keys.records["hg-another-key"] = KeyRecord("key-2")
        await send(world, STREAM)
        await asyncio.sleep(5)
        reply = await ask(world, body, headers, path, key)
        assert reply.headers.get("x-headgate-served-by") != "join"
        assert asked(world) == 2


async def test_a_retry_of_what_has_ended_is_a_call_of_its_own() -> None:
    async with World(plain) as world:
        await ask(world, PLAIN)
        assert (await ask(world, PLAIN, AGAIN)).headers["x-headgate-served-by"] == "primary"
        assert asked(world) == 2


async def test_who_may_not_use_the_model_does_not_get_it_by_joining() -> None:
    async with World(slow_stream) as world:
        await send(world, STREAM)
        await asyncio.sleep(5)
        world.change_rules(models=frozenset({"other"}))
        assert (await ask(world, STREAM, AGAIN)).status == 403
        await asyncio.sleep(20)


# --- who leaves ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after_s", [0.5, 5.5], ids=["before the first token", "mid-stream"])
@pytest.mark.parametrize("body", [STREAM, PLAIN], ids=["stream", "plain"])
async def test_the_call_goes_on_for_those_who_have_joined_when_its_own_client_leaves(
    body: bytes, after_s: float
) -> None:
    async with World(slow_stream if body is STREAM else slow_plain) as world:
        _, writer = await send(world, body)
        await asyncio.sleep(after_s)
        reader, _ = await send(world, body, AGAIN)
        await asyncio.sleep(1)
        writer.close()
        reply = await read_response(reader)
        assert reply.body == (TEXT if body is STREAM else REPLY)
        assert reply.complete
        await asyncio.sleep(5)
        leader = next(outcome for outcome in world.outcomes if outcome.attempts)
        assert leader.client_gone
        assert leader.attempts[0].error_code is None
        assert leader.attempts[0].usage is not None
        assert leader.attempts[0].usage.source == "reported"
        assert not of_joined(world).client_gone
    assert asked(world) == 1


@pytest.mark.parametrize("last", ["the first client", "who has joined"])
async def test_the_call_ends_within_a_tenth_of_a_second_of_the_last_one_leaving(last: str) -> None:
    closed_at = 0.0

    async def watched(peer: Peer) -> None:
        nonlocal closed_at
        await peer.stream_head()
        await peer.chunk(ROLE + token("a"))
        await peer.gone()
        closed_at = asyncio.get_running_loop().time()

    async with World(watched) as world:
        _, first = await send(world, STREAM)
        await asyncio.sleep(2)
        _, second = await send(world, STREAM, AGAIN)
        await asyncio.sleep(2)
        early, late = (second, first) if last == "the first client" else (first, second)
        early.close()
        await asyncio.sleep(3)
        assert closed_at == 0.0
        left_at = asyncio.get_running_loop().time()
        late.close()
        await asyncio.sleep(1)
        assert 0 <= closed_at - left_at <= 0.1
        assert [outcome.client_gone for outcome in world.outcomes] == [True, True]


async def test_a_connection_that_others_had_joined_is_as_good_as_before() -> None:
    async with World(slow_plain) as world:
        reader, writer = await send(world, PLAIN)
        await asyncio.sleep(1)
        _, other = await send(world, PLAIN, AGAIN)
        assert (await read_response(reader)).status == 200
        writer.write(head(PLAIN, path=PATH) + PLAIN)
        await asyncio.sleep(1)
        other.close()
        assert (await read_response(reader)).status == 200, "who has joined the one call says nothing of the next"
        writer.write(head(PLAIN, path=PATH) + PLAIN)
        await asyncio.sleep(5)
        writer.close()
        await asyncio.sleep(0.2)
        assert world.pipeline.in_flight == 0
    assert asked(world) == 3


# --- how it ends -----------------------------------------------------------------------------------------------------


async def test_who_has_joined_gets_the_error_of_the_call_and_no_attempt_of_its_own() -> None:
    async def failing(peer: Peer) -> None:
        await asyncio.sleep(5)
        await peer.reply(b'{"error":{"message":"broken"}}', status="500 Internal Server Error")

    async with World(failing, retry=Retry(attempts=1)) as world:
        reader, _ = await send(world, STREAM)
        await asyncio.sleep(1)
        again = await ask(world, STREAM, AGAIN)
        first = await read_response(reader)
        assert again.status == first.status
        assert again.error == first.error
    assert asked(world) == 1


async def test_a_stream_that_is_cut_is_cut_for_all() -> None:
    async def cut(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(ROLE + token("a"))
        await asyncio.sleep(5)
        peer.reset()

    async with World(cut) as world:
        reader, _ = await send(world, STREAM)
        await asyncio.sleep(1)
        again = await ask(world, STREAM, AGAIN)
        first = await read_response(reader)
        assert again.body == first.body
        assert again.body.count(b"upstream_broken") == 1
        assert not again.complete
        assert {outcome.error_code for outcome in world.outcomes} == {"upstream_broken"}


async def test_an_error_event_of_the_upstreams_reaches_all_of_them_once() -> None:
    async def faulty(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(ROLE + token("a"))
        await asyncio.sleep(5)
        await peer.chunk(b'data: {"error":{"message":"boom","type":"server_error"}}\n\n')
        await peer.end()

    async with World(faulty) as world:
        reader, _ = await send(world, STREAM)
        await asyncio.sleep(1)
        again, first = await ask(world, STREAM, AGAIN), await read_response(reader)
        assert again.body == first.body
        assert again.body.count(b'"error"') == 1


@pytest.mark.parametrize("after_s", [0.5, 5.5], ids=["before the first token", "mid-stream"])
async def test_a_run_that_is_killed_ends_the_call_and_those_who_have_joined_it(after_s: float) -> None:
    async with World(slow_stream) as world:
        reader, _ = await send(world, STREAM)
        await asyncio.sleep(after_s)
        other, _ = await send(world, STREAM, AGAIN)
        await asyncio.sleep(0.2)
        applied = await world.runs.apply(RunCommand("kill", "key:key-1/r", "1", "me", 0.0))
        assert applied.interrupted == 2
        for each in (reader, other):
            assert b"run_killed" in (await read_response(each)).body
        assert {outcome.error_code for outcome in world.outcomes} == {"run_killed"}
    assert asked(world) == 1


async def test_a_stop_of_the_gate_tells_all_of_them() -> None:
    async with World(slow_stream) as world:
        reader, _ = await send(world, STREAM)
        await asyncio.sleep(5)
        other, _ = await send(world, STREAM, AGAIN)
        await asyncio.sleep(0.2)
        await world.pipeline.drain(1.0)
        for each in (reader, other):
            assert (await read_response(each)).body.count(b"shutting_down") == 1


# --- deadlines, slow clients -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [STREAM, PLAIN], ids=["stream", "plain"])
async def test_who_joins_keeps_its_own_deadline(body: bytes) -> None:
    async with World(slow_stream if body is STREAM else slow_plain) as world:
        reader, _ = await send(world, body)
        await asyncio.sleep(5)
        began = asyncio.get_running_loop().time()
        again = await ask(world, body, AGAIN + "X-Headgate-Deadline: 3\r\n")
        assert asyncio.get_running_loop().time() - began == pytest.approx(3, abs=0.05)
        assert b"deadline_exceeded" in again.body
        assert (await read_response(reader)).body == (TEXT if body is STREAM else REPLY)
    assert asked(world) == 1


async def test_where_the_deadline_of_the_call_ends_it_who_has_joined_goes_on_alone() -> None:
    async with World(slow_plain) as world:
        reader, _ = await send(world, PLAIN, "X-Headgate-Deadline: 10\r\n")
        await asyncio.sleep(5)
        replies = [asyncio.get_running_loop().create_task(ask(world, PLAIN, AGAIN)) for _ in range(3)]
        assert (await read_response(reader)).error["code"] == "deadline_exceeded"
        served = [(await reply).headers["x-headgate-served-by"] for reply in replies]
        assert sorted(served) == ["join", "join", "primary"]
    assert asked(world) == 2


def long_words(count: int, size: int) -> Script:
    async def script(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(ROLE)
        for number in range(count):
            await peer.chunk(token(f"<{number}>" + "x" * size))
            await asyncio.sleep(0.1)
        await peer.chunk(FINISH + USAGE + DONE)
        await peer.end()

    return script


async def test_a_first_client_that_does_not_read_holds_nobody_up() -> None:
    """It cannot be told from one that has gone, whose connection nobody has closed."""
    async with World(long_words(90, 10_000), limits_of=NO_LIMITS) as world:
        reader, writer = await send(world, STREAM)
        await reader.readuntil(b"<1>")
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(1)
        began = asyncio.get_running_loop().time()
        again = await ask(world, STREAM, AGAIN)
        assert again.complete
        assert again.body.count(b"<") == 90
        assert asyncio.get_running_loop().time() - began < 10
        writer.transport.abort()


async def test_one_who_joins_and_does_not_read_holds_nobody_up_and_is_cut_off() -> None:
    async with World(long_words(400, 20_000), limits_of=NO_LIMITS) as world:
        reader, _ = await send(world, STREAM)
        other, _ = await send(world, STREAM, AGAIN)
        await other.readuntil(b"<1>")
        other._transport.pause_reading()  # type: ignore[attr-defined]
        first = await read_response(reader)
        assert first.complete
        assert first.body.count(b"<") == 400
        await asyncio.sleep(60)
        cut = of_joined(world)
        assert cut.client_gone
        assert cut.bytes_out < 4_000_000


async def test_who_joins_hears_heartbeats_while_the_upstream_thinks() -> None:
    async def thinking(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(ROLE + token("a"))
        await asyncio.sleep(10)
        await peer.chunk(FINISH + USAGE + DONE)
        await peer.end()

    async with World(thinking, limits=Limits(heartbeat_s=2)) as world:
        await send(world, STREAM)
        await asyncio.sleep(1)
        again = await ask(world, STREAM, AGAIN)
        assert again.body.count(b": keep-alive\n\n") >= 3
        assert again.body.replace(b": keep-alive\n\n", b"") == ROLE + token("a") + FINISH + DONE


# --- what is kept ----------------------------------------------------------------------------------------------------


async def test_a_reply_that_has_become_too_long_is_not_joined() -> None:
    async with World(long_words(150, 10_000), limits_of=NO_LIMITS) as world:
        await send(world, STREAM)
        await asyncio.sleep(12)
        flights = world.pipeline._flights
        assert flights.kept == 0
        again = await ask(world, STREAM, AGAIN)
        assert again.headers["x-headgate-served-by"] == "primary"
    assert asked(world) == 2


async def test_who_has_joined_before_it_became_too_long_gets_all_of_it() -> None:
    async with World(long_words(300, 10_000), limits_of=NO_LIMITS) as world:
        await send(world, STREAM)
        await asyncio.sleep(2)
        again = await ask(world, STREAM, AGAIN)
        assert again.complete
        assert again.body.count(b"<") == 300
    assert asked(world) == 1


async def test_all_streams_together_keep_no_more_than_their_bound() -> None:
    async with World(long_words(60, 10_000), limits_of=NO_LIMITS, limits=KEPT) as world:
        reply = asyncio.get_running_loop().create_task(ask(world, STREAM))
        for _ in range(50):
            await asyncio.sleep(0.1)
            assert world.pipeline._flights.kept <= 100_000
        assert (await ask(world, STREAM, AGAIN)).headers["x-headgate-served-by"] == "primary"
        await reply
        assert world.pipeline._flights.kept == 0
    assert asked(world) == 2


async def test_nothing_is_kept_of_what_has_ended() -> None:
    async with World(slow_stream) as world:
        await asyncio.gather(*(ask(world, STREAM, AGAIN if number else "") for number in range(5)))
        await asyncio.sleep(5)
        assert repr(world.pipeline._flights) == "Flights(0 calls, 0 bytes kept)"


# --- where the provider bills on -------------------------------------------------------------------------------------


@pytest.mark.parametrize("left_at", [0.5, 5.5], ids=["before the first token", "mid-stream"])
async def test_a_stream_that_is_read_on_for_the_bill_can_be_joined(left_at: float) -> None:
    async def going_on(peer: Peer) -> None:
        if len(world.upstreams[0].requests) > 1:
            await plain(peer)
        else:
            await slow_stream(peer)

    async with World(going_on, abort="continues") as world:
        _, writer = await send(world, STREAM)
        await asyncio.sleep(left_at)
        writer.close()
        await asyncio.sleep(1)
        again = await ask(world, STREAM, AGAIN)
        if left_at < 1:
            assert again.headers["x-headgate-served-by"] == "primary", "nothing had begun that could be read on"
            return
        assert (again.body, again.complete) == (TEXT, True)
        await asyncio.sleep(5)
        assert of_joined(world).error_code is None
    leader = next(outcome for outcome in world.outcomes if outcome.attempts)
    assert leader.client_gone
    assert leader.attempts[0].usage is not None
    assert leader.attempts[0].usage.source == "reported"
    assert asked(world) == 1


async def test_a_whole_reply_that_is_read_on_for_the_bill_can_be_joined() -> None:
    async def going_on(peer: Peer) -> None:
        await peer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
        await peer.write(b"Content-Length: %d\r\n\r\n" % len(REPLY) + REPLY[:20])
        await asyncio.sleep(20)
        await peer.write(REPLY[20:])

    async with World(going_on, abort="continues") as world:
        _, writer = await send(world, PLAIN)
        await asyncio.sleep(5)
        writer.close()
        await asyncio.sleep(5)
        again = await ask(world, PLAIN, AGAIN)
        assert (again.body, again.headers["x-headgate-served-by"]) == (REPLY, "join")
    assert asked(world) == 1


async def test_a_stream_that_breaks_while_it_is_read_on_is_broken_for_who_has_joined() -> None:
    async def breaking(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(ROLE + token("a"))
        await asyncio.sleep(20)
        peer.reset()

    async with World(breaking, abort="continues") as world:
        _, writer = await send(world, STREAM)
        await asyncio.sleep(5)
        writer.close()
        await asyncio.sleep(5)
        again = await ask(world, STREAM, AGAIN)
        assert again.body.startswith(ROLE + token("a"))
        assert not again.complete
        assert b"[DONE]" not in again.body
        assert of_joined(world).error_code == "upstream_broken"


# --- with the rest ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [STREAM, PLAIN], ids=["stream", "plain"])
async def test_with_a_strict_ledger_who_has_joined_is_on_the_disk_before_its_reply_ends(body: bytes) -> None:
    written: list[int] = []

    async def on_disk() -> None:
        await asyncio.sleep(0.5)
        written.append(len(world.outcomes))

    async with World(slow_stream if body is STREAM else slow_plain) as world:
        world.snapshot = structs.replace(world.snapshot, strict=True)
        world.on_disk = on_disk
        await send(world, body)
        await asyncio.sleep(3)
        reader, _ = await send(world, body, AGAIN)
        await reader.readuntil(b"[DONE]" if body is STREAM else REPLY)
        assert written[-1] == 2
        assert of_joined(world).status == 200


@pytest.mark.parametrize("body", [STREAM, PLAIN], ids=["stream", "plain"])
async def test_a_budget_that_pays_for_one_call_serves_its_retries_too(body: bytes) -> None:
    once = LimitsByName({"key:key-1": (Limit("requests", 1),)})
    async with World(slow_stream if body is STREAM else slow_plain, limits_of=once) as world:
        await send(world, body)
        await asyncio.sleep(5)
        assert (await ask(world, body)).error["code"] == "budget_exceeded"
        assert (await ask(world, body, AGAIN)).status == 200


async def test_rate_limits_count_retries_that_join_and_give_their_tokens_back() -> None:
    rates = RateRules(agents={"a": Rates(rpm=2, tpm=1_000_000)})
    async with World(slow_plain, rates=rates) as world:
        reader, _ = await send(world, PLAIN)
        await asyncio.sleep(1)
        joined = await ask(world, PLAIN, AGAIN)
        assert joined.headers["x-headgate-served-by"] == "join"
        assert (await ask(world, PLAIN, AGAIN)).status == 429
        await read_response(reader)


async def test_a_stream_that_goes_on_elsewhere_goes_on_for_all() -> None:
    dying, going_on = Engine("a", 4), Engine("bb")
    dying.pause_s = going_on.pause_s = 1.0
    async with World(dying, going_on, rules=SURVIVING, continues=True) as world:
        reader, _ = await send(world, CHAT)
        await asyncio.sleep(2)
        again = await ask(world, CHAT, AGAIN)
        assert_one_answer(again, "up1/real")
        assert (await read_response(reader)).body == again.body
    assert asked(world) == 2


async def test_bodies_and_tenants_never_meet() -> None:
    """Random pairs of requests: who gets a reply by joining has asked for the very same."""
    rng = Random(7)
    keys = {f"hg-key-number-{number}": KeyRecord(f"key-{number}") for number in range(3)}

    async def echo(peer: Peer) -> None:
        await asyncio.sleep(5)
        words = [part for part in peer.body.split(b'"') if part.startswith(b"word")]
        await peer.reply(REPLY.replace(b"hello", words[0]))

    async with World(echo, rules=AgentRules()) as world:
        world.keys.records.update(keys)
        asked_for, replies = [], []
        for _ in range(300):
            key, agent, run = rng.choice(list(keys)), rng.choice("ab"), rng.choice("rs")
            body = b'{"model":"m","messages":[{"role":"user","content":"word%d"}]}' % rng.randint(0, 4)
            asked_for.append((key, agent, run, body))
            path = f"/agents/{agent}/runs/{run}/v1/chat/completions"
            replies.append(asyncio.get_running_loop().create_task(ask(world, body, AGAIN, path, key)))
            await asyncio.sleep(rng.random() / 20)
        for (_, _, _, body), reply in zip(asked_for, replies, strict=True):
            assert body.split(b'"')[-2] in (await reply).body
        by_id = {outcome.call.id: outcome.call for outcome in world.outcomes}
        joined = [outcome for outcome in world.outcomes if outcome.served_by == "join"]
        assert len(joined) > 100
        for outcome in joined:
            other = next(by_id[id] for id in by_id if any(id in decision.said for decision in outcome.decisions))
            assert other.raw == outcome.call.raw
            assert other.identity == outcome.call.identity


def test_the_bound_of_one_reply_is_what_the_documentation_says() -> None:
    assert flight.KEPT_MAX == 1024 * 1024
