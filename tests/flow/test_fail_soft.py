"""A run at one of its ceilings gets its last complete answer back, marked, where its agent wants that."""

from __future__ import annotations

import asyncio
import json

import pytest

from policies.limits import Limit, LimitsByName
from policies.runs import RunLimits
from proxy.snapshot import AgentRules
from proxy.types import KeyRecord
from tests.flow.test_runs import last_error
from tests.flow.world import DONE, FINISH, KEY, ROLE, USAGE, Peer, World, token

RUN = "X-Headgate-Run: trip\r\n"
BEST = AgentRules(run=RunLimits(at_limit="best"))
PLAIN = b'{"model":"m","messages":[],"max_tokens":100}'
STREAM = b'{"model":"m","messages":[],"max_tokens":100,"stream":true}'
WITH_USAGE = STREAM[:-1] + b',"stream_options":{"include_usage":true}}'


def limited(*limits: Limit) -> LimitsByName:
    return LimitsByName({}, {"agent": limits})


async def answers(peer: Peer) -> None:
    """Numbers its answers: it says which request of the upstream it was."""
    await _speak(peer, f"draft {peer.json.get('seed')}", "stop")


async def _speak(peer: Peer, text: str, reason: str, **more: object) -> None:
    if peer.json.get("stream"):
        await peer.stream_head()
        for event in (ROLE, token(text), FINISH.replace(b'"stop"', b'"%b"' % reason.encode()), USAGE, DONE):
            await peer.chunk(event)
        await peer.end()
        return
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **more}, "finish_reason": reason}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    await peer.reply(json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode())


def asking(body: bytes, seed: int) -> bytes:
    return body[:-1] + b',"seed":%d}' % seed


STEPS = limited(Limit("steps", 2, per="run"))
MONEY = limited(Limit("usd", 230_000 + 2 * 20_000, per="run"))  # a third hold of some 210,000 does not fit


@pytest.mark.parametrize(("limits", "unit"), [(STEPS, "steps"), (MONEY, "usd")])
@pytest.mark.parametrize("first", [PLAIN, STREAM], ids=["plain", "streamed"])
async def test_the_last_answer_comes_back_marked_and_costs_nothing(
    limits: LimitsByName, unit: str, first: bytes
) -> None:
    async with World(answers, rules=BEST, limits_of=limits) as world:
        for seed in range(2):
            assert (await world.request(asking(first, seed), headers=RUN)).status == 200
        reply = await world.request(asking(PLAIN, 2), headers=RUN)
        assert (reply.status, reply.headers["x-headgate-run-limit"]) == (200, unit)
        assert reply.headers["x-headgate-served-by"] == "best"
        assert reply.json["choices"] == [
            {"index": 0, "message": {"role": "assistant", "content": "draft 1"}, "finish_reason": "length"}
        ]
        assert len(world.upstreams[0].requests) == 2
        outcome = world.outcomes[-1]
        assert (outcome.status, outcome.error_code, outcome.served_by, outcome.attempts) == (200, None, "best", ())
        assert "given its last complete answer" in outcome.decisions[-1].said


@pytest.mark.parametrize("body", [STREAM, WITH_USAGE])
async def test_a_stream_gets_it_as_a_stream(body: bytes) -> None:
    async with World(answers, rules=BEST, limits_of=STEPS) as world:
        for seed in range(2):
            await world.request(asking(PLAIN, seed), headers=RUN)
        reply = await world.request(body, headers=RUN)
        assert reply.headers["content-type"] == "text/event-stream"
        assert reply.complete
        assert reply.body.endswith(b"data: [DONE]\n\n")
        events = [json.loads(event[6:]) for event in reply.body.decode().split("\n\n")[:-2]]
        said = "".join(choice["delta"].get("content", "") for event in events for choice in event["choices"])
        reasons = [choice["finish_reason"] for event in events for choice in event["choices"]]
        assert (said, reasons[-1]) == ("draft 1", "length")
        assert (events[-1]["choices"] == []) == (body == WITH_USAGE)


async def test_wall_time_is_a_ceiling_as_well() -> None:
    async with World(answers, rules=AgentRules(run=RunLimits(seconds=60, at_limit="best"))) as world:
        await world.request(asking(PLAIN, 7), headers=RUN)
        await asyncio.sleep(61)
        reply = await world.request(PLAIN, headers=RUN)
        assert (reply.status, reply.headers["x-headgate-run-limit"]) == (200, "seconds")
        assert b"draft 7" in reply.body


async def test_a_call_does_not_outlive_its_run() -> None:
    async def slow(peer: Peer) -> None:
        await asyncio.sleep(40)
        await answers(peer)

    for at_limit, status in (("best", 200), ("error", 403)):
        rules = AgentRules(run=RunLimits(seconds=60, at_limit=at_limit))  # type: ignore[arg-type]
        async with World(slow, rules=rules) as world:
            began = world.clock.now()
            await world.request(asking(PLAIN, 1), headers=RUN)
            reply = await world.request(asking(PLAIN, 2), headers=RUN)
            assert 59 < world.clock.now() - began < 61
            assert reply.status == status
            if at_limit == "best":
                assert b"draft 1" in reply.body
            else:
                assert (reply.error["code"], reply.error["limit"]) == ("run_limit_exceeded", "seconds")


async def test_nor_does_a_call_of_a_run_below_it() -> None:
    async def slow(peer: Peer) -> None:
        await asyncio.sleep(400)

    async with World(slow) as world:
        began = world.clock.now()
        world.change_rules(run=RunLimits(seconds=30))
        top = asyncio.ensure_future(world.request(PLAIN, headers=RUN))  # noqa: TID251
        await asyncio.sleep(10)
        world.change_rules(run=RunLimits())
        below = await world.request(PLAIN, headers="X-Headgate-Run: low\r\nX-Headgate-Parent-Run: trip\r\n")
        assert (below.error["code"], below.error["run"]) == ("run_limit_exceeded", "trip")
        assert (await top).status == 403
        assert 29 < world.clock.now() - began < 31


async def test_a_stream_that_has_begun_ends_with_its_run() -> None:
    async def endless(peer: Peer) -> None:
        if "seed" in peer.json:
            await answers(peer)
            return
        await peer.stream_head()
        await peer.chunk(ROLE)
        for _ in range(600):
            await peer.chunk(token("word "))
            await asyncio.sleep(0.5)

    rules = AgentRules(run=RunLimits(seconds=30, at_limit="best"))
    async with World(endless, rules=rules) as world:
        began = world.clock.now()
        await world.request(asking(PLAIN, 1), headers=RUN)
        reply = await world.request(STREAM, headers=RUN)
        assert last_error(reply) == "run_limit_exceeded"
        assert 29 < world.clock.now() - began < 31


async def test_without_an_answer_the_error_stands() -> None:
    async with World(answers, rules=BEST, limits_of=limited(Limit("steps", 0, per="run"))) as world:
        reply = await world.request(PLAIN, headers=RUN)
        assert (reply.status, reply.error["code"]) == (402, "budget_exceeded")
        assert "no complete answer" in world.outcomes[0].decisions[-1].said


async def test_only_complete_answers_count() -> None:
    async def unfinished(peer: Peer) -> None:
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        match peer.json.get("seed"):
            case 0:
                await answers(peer)
            case 1:
                await _speak(peer, "cut", "length")
            case _:
                await _speak(peer, "let me see", "stop", tool_calls=[call])

    async with World(unfinished, rules=BEST, limits_of=limited(Limit("steps", 3, per="run"))) as world:
        for seed in range(3):
            await world.request(asking(PLAIN, seed), headers=RUN)
        assert b"draft 0" in (await world.request(PLAIN, headers=RUN)).body


async def test_by_default_nothing_is_kept_and_the_error_stands() -> None:
    async with World(answers, limits_of=STEPS) as world:
        for seed in range(2):
            await world.request(asking(PLAIN, seed), headers=RUN)
        assert (await world.request(PLAIN, headers=RUN)).error["code"] == "budget_exceeded"
        world.change_rules(run=RunLimits(at_limit="best"))
        assert (await world.request(PLAIN, headers=RUN)).error["code"] == "budget_exceeded"


async def test_other_refusals_stay_errors() -> None:
    day = limited(Limit("requests", 1, per="day"))
    async with World(answers, rules=BEST, limits_of=day) as world:
        await world.request(asking(PLAIN, 0), headers=RUN)
        assert (await world.request(PLAIN, headers=RUN)).error["code"] == "budget_exceeded"


async def test_nobody_else_gets_it_by_naming_the_run() -> None:
    async with World(
        answers, rules=BEST, limits_of=LimitsByName({}, {"run": (Limit("steps", 1, per="run"),)})
    ) as world:
        world.keys.records |= {KEY: KeyRecord("key-1", team="t"), "hg-other": KeyRecord("key-2", team="t")}
        await world.request(asking(PLAIN, 0), headers=RUN)
        theirs = await world.request(PLAIN, headers=RUN, key="hg-other")
        assert theirs.error["code"] == "budget_exceeded"
        assert b"draft 0" in (await world.request(PLAIN, headers=RUN)).body
