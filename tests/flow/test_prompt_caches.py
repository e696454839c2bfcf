"""The prompt caches of providers through the whole gate: what upstreams are asked, where runs stay, what it costs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from msgspec import structs

from policies.plan import Planner, Route, Routes
from pricing.prompt_caches import CacheRule
from proxy.dialects.openai_chat import OpenAI
from proxy.providers.openai_compatible import Account, OpenAICompatible
from proxy.types import Balance
from tests.flow.world import KEY as GATE_KEY
from tests.flow.world import PROVIDER_KEY, Peer, Response, World
from tests.prompts import KEY, MARKERS, Json, parts, tool

FRONT: Json = {"role": "system", "content": parts("s" * 40_000)}
WRITTEN = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"real","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10000,"completion_tokens":5,'
    b'"total_tokens":10005,"prompt_tokens_details":{"cached_tokens":2000,"cache_write_tokens":7000}}}'
)


async def answers(peer: Peer) -> None:
    await asyncio.sleep(1.0)
    await peer.reply(WRITTEN)


async def fails(peer: Peer) -> None:
    peer.reset()


def caching(world: World, rule: CacheRule, balance: Balance = "ordered") -> World:
    """All upstreams of the world are one vendor's, with one kind of cache."""
    providers = {}
    for number, upstream in enumerate(world.upstreams):
        account = Account(base_url=f"http://127.0.0.1:{upstream.port}/v1", api_key=PROVIDER_KEY, prompt_caches=(rule,))
        name = f"up{number}"
        providers[name] = OpenAICompatible(
            name, account, dialect=OpenAI(), transport=world.transport, clock=world.clock
        )
    (route,) = [Route("m", world.snapshot.planner.routes.fixed_targets, balance=balance)]
    world.snapshot = structs.replace(world.snapshot, providers=providers, planner=Planner(Routes((route,))))
    return world


async def ask(
    world: World, *messages: Json, tools: Sequence[Json] = (tool("a"), tool("b")), run: str = "r"
) -> Response:
    body = json.dumps({"model": "m", "messages": [FRONT, *messages], "tools": tools}).encode()
    return await world.request(body, headers=f"x-headgate-run: {run}\r\n")


def sent(world: World, at: int = -1, upstream: int = 0) -> Json:
    found = json.loads(world.upstreams[upstream].requests[at][1])
    assert isinstance(found, dict)
    return found


def said(world: World, at: int = -1) -> list[str]:
    return [decision.said for decision in world.outcomes[at].decisions]


USER: Json = {"role": "user", "content": parts("Go on.")}


async def test_all_calls_of_a_run_bear_one_key_and_those_of_another_another() -> None:
    async with World(answers) as world:
        caching(world, KEY)
        for run in ("r", "r", "other"):
            await ask(world, USER, run=run)
        keys = [sent(world, at)["prompt_cache_key"] for at in range(3)]
        assert keys[0] == keys[1] != keys[2]
        assert GATE_KEY not in str(keys)
        assert said(world) == ["prompt cache of up0: a key of its run"]


async def test_an_unknown_host_is_told_nothing() -> None:
    async with World(answers) as world:
        await ask(world, USER)
        assert sent(world).keys() == {"model", "messages", "tools"}
        assert said(world) == []


async def test_markers_are_added_and_what_they_cost_is_held_and_paid_for() -> None:
    async with World(answers) as world:
        caching(world, MARKERS)
        assert (await ask(world, USER)).status == 200
        marker = {"type": "ephemeral", "ttl": "1h"}
        messages = sent(world)["messages"]
        assert isinstance(messages, list)
        assert [message["content"][-1]["cache_control"] for message in messages] == [marker, marker]
        (attempt,) = world.outcomes[0].attempts
        assert attempt.usage is not None
        assert (attempt.usage.input_cache_write_1h, attempt.usage.input_cache_write_5m) == (7_000, 0)
        assert attempt.cost_usd_nanos == 1_000 * 1000 + 2_000 * 100 + 7_000 * 2000 + 5 * 2000
        assert attempt.held_usd_nanos > 9_000 * 2000, "all of it might have been written"
        assert said(world) == ["prompt cache of up0: marked for 1h: message 0, message 1"]


async def test_what_the_dialect_cannot_carry_is_left_out_for_all_to_see() -> None:
    async with World(answers) as world:
        caching(world, MARKERS)
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "t" * 40_000}], "tools": [tool("a")]})
        await world.request(body.encode(), headers="x-headgate-run: r\r\n")
        assert "cache_control" not in json.dumps(sent(world))
        assert said(world) == ["prompt cache of up0: its messages are texts, which carry no marker"]


async def test_a_run_stays_with_the_account_that_has_its_prompt_until_that_one_fails() -> None:
    async with World(answers, answers) as world:
        caching(world, KEY, "weighted")
        for step in range(12):
            await ask(world, *[USER] * (step + 1))
        asked = [len(upstream.requests) for upstream in world.upstreams]
        assert sorted(asked) == [0, 12]
        home = asked.index(12)
        assert "the home of its run" in said(world)[0]
        world.upstreams[home].script = fails
        assert (await ask(world, USER, USER)).status == 200
        assert len(world.upstreams[1 - home].requests) == 1


async def test_of_siblings_the_first_goes_and_the_others_follow_it_home() -> None:
    async with World(answers, answers) as world:
        caching(world, KEY, "weighted")
        children: list[Json] = [{"role": "user", "content": f"part {number}"} for number in range(6)]
        replies = await asyncio.gather(*(ask(world, child) for child in children))
        assert {reply.status for reply in replies} == {200}
        assert sorted(len(upstream.requests) for upstream in world.upstreams) == [0, 6]
        waits = [words for at in range(6) for words in said(world, at) if words.startswith("waited")]
        assert len(waits) == 5
        assert {round(outcome.duration_s) for outcome in world.outcomes} == {1, 2}


async def test_a_broken_prefix_is_told_and_counted() -> None:
    async with World(answers) as world:
        await ask(world, USER)
        await ask(world, USER, tools=(tool("b"), tool("a")))
        await ask(world, USER, USER, tools=(tool("b"), tool("a")))
        assert [[decision.broke for decision in outcome.decisions] for outcome in world.outcomes] == [
            [],
            ["tool_order"],
            [],
        ]
        assert "the 2 tools stand in another order" in said(world, 1)[0]
