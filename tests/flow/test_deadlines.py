"""How much time a call has: what cannot be done in it is not begun, and gates behind gates know what is left."""

from __future__ import annotations

import asyncio
from math import inf

import pytest
from msgspec import structs

from policies.provider_limits import TargetRules
from policies.rate_limit import Rates
from policies.retry import Retry
from proxy.dialects.openai_chat import OpenAI
from proxy.execution.line import Queueing
from proxy.providers.openai_compatible import Account, OpenAICompatible
from proxy.snapshot import AgentRules
from tests.flow.world import Peer, Script, World, plain

ONE = TargetRules(targets={"up0/real": Rates(concurrency=1)})


def after(seconds: float) -> Script:
    async def script(peer: Peer) -> None:
        await asyncio.sleep(seconds)
        await plain(peer)

    return script


def before_a_gate(world: World) -> World:
    """Its provider is another gate."""
    account = Account(engine="headgate", base_url=f"http://127.0.0.1:{world.upstreams[0].port}/v1")
    provider = OpenAICompatible("up0", account, dialect=OpenAI(), transport=world.transport, clock=world.clock)
    world.snapshot = structs.replace(world.snapshot, providers={"up0": provider})
    return world


async def test_a_call_without_half_a_chance_is_refused_before_anything_is_sent_or_held() -> None:
    async with World(after(4.0)) as world:
        for _ in range(25):
            await world.request()
        world.upstreams[0].requests.clear()
        response = await world.request(headers="X-Headgate-Deadline: 2\r\n")
        assert (response.status, response.error["code"]) == (504, "deadline_exceeded")
        assert response.headers["x-should-retry"] == "false"
        assert (world.upstreams[0].requests, world.outcomes[-1].attempts) == ([], ())
        assert world.outcomes[-1].duration_s < 0.01
        assert (await world.request(headers="X-Headgate-Deadline: 5\r\n")).status == 200


async def test_what_was_learnt_is_not_believed_for_ever() -> None:
    async with World(after(4.0)) as world:
        for _ in range(25):
            await world.request()
        world.upstreams[0].script = plain
        assert (await world.request(headers="X-Headgate-Deadline: 2\r\n")).status == 504
        await asyncio.sleep(61)
        assert (await world.request(headers="X-Headgate-Deadline: 2\r\n")).status == 200


@pytest.mark.parametrize(("stated", "passed_on"), [("", 587.95), ("X-Headgate-Deadline: 10\r\n", 9.75)])
async def test_another_gate_is_told_what_is_left_less_the_way_to_it(stated: str, passed_on: float) -> None:
    async with World(plain) as world:
        await before_a_gate(world).request(headers=stated + "X-Headgate-Hops: 1\r\n")
        head = world.upstreams[0].requests[0][0].decode().lower()
        told = dict(line.split(": ", 1) for line in head.split("\r\n") if ": " in line)
        assert float(told["x-headgate-deadline"]) == pytest.approx(passed_on, abs=0.02)
        assert told["x-headgate-hops"] == "2"


async def test_a_vendor_is_told_neither() -> None:
    async with World(plain) as world:
        await world.request(headers="X-Headgate-Deadline: 10\r\n")
        assert b"x-headgate" not in world.upstreams[0].requests[0][0].lower()


async def test_gates_that_ask_each_other_in_a_circle_are_stopped() -> None:
    async with World(plain) as world:
        response = await world.request(headers="X-Headgate-Hops: 4\r\n")
        assert (response.status, response.error["code"]) == (400, "too_many_hops")
        assert response.headers["x-should-retry"] == "false"
        assert world.upstreams[0].requests == []


async def test_in_an_overload_runs_that_have_got_somewhere_go_on_and_new_ones_hear_when_to_come_back() -> None:
    async with World(after(1.0), target_rates=ONE, queueing=Queueing(wait_s=100.0)) as world:
        assert (await world.request(headers="X-Headgate-Run: old\r\n")).status == 200
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(world.request(headers="X-Headgate-Run: new\r\n"))]
            while not (shed := [task.result() for task in waiting if task.done() and task.result().status == 503]):
                assert len(waiting) < 100, "a call a second can be answered, three come, and nobody is turned away"
                await asyncio.sleep(0.33)
                run = f"X-Headgate-Run: new-{len(waiting)}\r\n"
                waiting.append(tasks.create_task(world.request(headers=run)))
            assert (await world.request(headers="X-Headgate-Run: old\r\n")).status == 200
        assert shed[0].error["code"] == "overloaded"
        assert shed[0].headers["x-should-retry"] == "false"
        assert 10 <= int(shed[0].headers["retry-after"]) <= 40
        assert int(shed[0].headers["retry-after-ms"]) <= 40_000


@pytest.mark.parametrize(
    ("hint", "seconds", "millis"),
    [
        ("Retry-After: Thu, 01 Jan 1970 00:00:00 GMT\r\n", "1", "1"),
        ("Retry-After: 1m30s\r\n", "90", "90000"),
        ("Retry-After: 1000000000\r\n", "120", "120000"),
        ("retry-after-ms: 250\r\nRetry-After: 60\r\n", "1", "250"),
        ("x-ratelimit-reset-requests: 6m0s\r\n", "120", "120000"),
    ],
)
async def test_a_hint_in_any_form_reaches_the_client_in_one(hint: str, seconds: str, millis: str) -> None:
    async def slow(peer: Peer) -> None:
        body = b'{"error":{"message":"slow down","type":"t","code":"rate_limit_exceeded"}}'
        await peer.reply(body, status="429 Slow", headers=hint)

    async with World(slow) as world:
        response = await world.request(headers="X-Headgate-Deadline: 0.5\r\n")
        assert response.status == 429
        assert (response.headers["retry-after"], response.headers["retry-after-ms"]) == (seconds, millis)


async def test_a_hint_that_makes_no_sense_is_not_passed_on() -> None:
    async def slow(peer: Peer) -> None:
        await peer.reply(b'{"error":{"message":"slow down"}}', status="429 Slow", headers="Retry-After: NaN\r\n")

    async with World(slow) as world:
        response = await world.request(headers="X-Headgate-Deadline: 0.5\r\n")
        assert response.status == 429
        assert not {"retry-after", "retry-after-ms"} & response.headers.keys()


@pytest.mark.parametrize("headers", ["X-Headgate-Deadline: 1.05\r\n", ""], ids=["the caller's", "the configured one"])
async def test_a_deadline_that_its_caller_has_shortened_says_nothing_of_the_target(headers: str) -> None:
    async def silent(peer: Peer) -> None:
        await asyncio.sleep(600)

    rules = AgentRules(deadline_s=1.05, retry=Retry(attempts=1)) if not headers else AgentRules(retry=Retry(attempts=1))
    learning = TargetRules(adaptive={"up0": "measured"})
    async with World(silent, rules=rules, target_rates=learning) as world:
        for _ in range(6):
            response = await world.stream(headers=headers)
            assert (response.status, response.error["code"]) == (504, "deadline_exceeded")
        limit = world.permits.rooms.concurrency("up0/real")
        assert (limit == inf) == bool(headers)
