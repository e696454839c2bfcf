"""A run that goes round in circles, over sockets: said, slowed down, refused; and what is none is left alone."""

from __future__ import annotations

import asyncio
import json

import pytest
from msgspec import structs

from policies.loops import LoopRules
from proxy.dialects.openai_chat import OpenAI
from proxy.renewal import Nobody
from proxy.runs.registry import RunCommand
from proxy.snapshot import AgentRules
from proxy.types import Identity
from tests import build
from tests.flow.world import KEY, Peer, Response, World, plain

ON = AgentRules(loops=LoopRules("on", frozenset({"wait"})))
RUN = "X-Headgate-Run: trip\r\n"


class Agent:
    """Resends all of its conversation with each call, as agents do."""

    def __init__(self, world: World, headers: str = RUN, *, key: str = KEY, **fields: object) -> None:
        self._world = world
        self._headers = headers
        self._key = key
        self._fields = fields
        self.messages: list[dict[str, object]] = [{"role": "user", "content": "book a trip"}]

    async def ask(self, headers: str = "") -> Response:
        body = json.dumps({"model": "m", "messages": self.messages, **self._fields}).encode()
        return await self._world.request(body, headers=self._headers + headers, key=self._key)

    def used(self, tool: str, arguments: str, result: str, text: str | None = None) -> None:
        id = f"call_{len(self.messages)}"
        function = {"name": tool, "arguments": arguments}
        self.messages += [
            {
                "role": "assistant",
                "content": text,
                "tool_calls": [{"id": id, "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": id, "content": result},
        ]

    async def step(self, tool: str, arguments: str = "{}", result: str = "none", headers: str = "") -> Response:
        self.used(tool, arguments, result)
        return await self.ask(headers)


async def test_the_third_time_is_said_the_fourth_waits_and_the_fifth_is_refused() -> None:
    async with World(plain, rules=ON) as world:
        agent = Agent(world)
        told = []
        for spaces in range(5):
            before = world.clock.now()
            reply = await agent.step("search", '{"q":%s"x"}' % (" " * spaces))
            told.append((reply.status, reply.headers.get("x-headgate-loop"), round(world.clock.now() - before)))
        assert told == [
            (200, None, 0),
            (200, None, 0),
            (200, "annotate repeat 2", 0),
            (200, "throttle repeat 3", 2),
            (403, "refuse repeat 4", 0),
        ]
        assert len(world.upstreams[0].requests) == 4
        assert reply.headers["x-should-retry"] == "false"
        error = reply.error
        assert (error["code"], error["reason"], error["repeats"], error["tool"]) == (
            "loop_detected",
            "repeat",
            4,
            "search",
        )
        assert world.runs.state("key:key-1/trip").loops == 3
        assert [outcome.loop.action for outcome in world.outcomes if outcome.loop] == ["annotate", "throttle", "refuse"]
        assert "goes round in circles" in world.outcomes[-1].decisions[-1].said


async def test_a_kill_ends_a_call_that_is_made_to_wait() -> None:
    async with World(plain, rules=ON) as world:
        agent = Agent(world)
        for _ in range(3):
            await agent.step("search")
        waiting = asyncio.ensure_future(agent.step("search"))  # noqa: TID251
        await asyncio.sleep(1)
        await world.runs.apply(RunCommand("kill", "key:key-1/trip", id="k", by="test", at_wall=0.0))
        before = world.clock.now()
        assert (await waiting).error["code"] == "run_killed"
        assert world.clock.now() - before < 0.5


async def test_what_the_gate_asks_itself_is_no_step() -> None:
    async with World(plain, rules=ON) as world:
        agent = Agent(world)
        for _ in range(5):
            agent.used("search", "{}", "none")
        raw = json.dumps({"model": "m", "messages": agent.messages}).encode()
        call = structs.replace(
            build.call(
                identity=Identity("key-1", "a", run="trip"), head=OpenAI().read("chat", raw, "application/json")
            ),
            raw=raw,
            cause="another call",
            deadline=world.clock.now() + 60,
        )
        assert (await world.pipeline.serve(call, Nobody(), world.snapshot)).status == 200


async def test_the_clients_own_word_lets_it_go_on() -> None:
    async with World(plain, rules=ON) as world:
        agent = Agent(world)
        for _ in range(6):
            reply = await agent.step("search")
        assert reply.status == 403
        before = world.clock.now()
        reply = await agent.ask("X-Headgate-Loop: allow\r\n")
        assert (reply.status, reply.headers["x-headgate-loop"]) == (200, "allow repeat 5")
        assert world.clock.now() - before < 1


async def test_another_result_ends_it() -> None:
    async with World(plain, rules=ON) as world:
        agent = Agent(world)
        for _ in range(5):
            reply = await agent.step("search")
        assert reply.status == 403
        reply = await agent.step("search", result="found")
        assert (reply.status, reply.headers.get("x-headgate-loop")) == (200, None)


async def test_by_default_it_is_only_said() -> None:
    async with World(plain) as world:
        agent = Agent(world)
        before = world.clock.now()
        for _ in range(8):
            reply = await agent.step("search")
        assert (reply.status, reply.headers["x-headgate-loop"]) == (200, "annotate repeat 7")
        assert world.clock.now() - before < 1


async def test_switched_off_nothing_is_looked_at() -> None:
    async with World(plain, rules=AgentRules(loops=LoopRules("off"))) as world:
        agent = Agent(world)
        for _ in range(6):
            reply = await agent.step("search")
        assert (reply.status, reply.headers.get("x-headgate-loop")) == (200, None)


async def test_polling_is_no_loop_where_its_tool_is_named() -> None:
    async with World(plain, rules=ON) as world:
        agent = Agent(world)
        replies = [await agent.step("wait", result="running") for _ in range(12)]
        assert {(reply.status, reply.headers.get("x-headgate-loop")) for reply in replies} == {(200, None)}


async def test_a_client_that_asks_again_adds_no_step() -> None:
    async with World(plain, rules=ON) as world:
        agent = Agent(world)
        await agent.step("search")
        replies = [await agent.ask("X-Stainless-Retry-Count: 1\r\n") for _ in range(8)]
        replies += [await agent.ask() for _ in range(8)]
        assert {(reply.status, reply.headers.get("x-headgate-loop")) for reply in replies} == {(200, None)}


async def test_children_that_do_the_same_are_no_loop() -> None:
    async with World(plain, rules=ON) as world:
        for named in (True, False):  # with a run of their own, and within that of their parent
            children = [
                Agent(world, f"X-Headgate-Run: child{number}\r\nX-Headgate-Parent-Run: trip\r\n" if named else RUN)
                for number in range(8)
            ]
            for name in ("search", "read"):
                replies = [await child.step(name) for child in children]
                assert {(reply.status, reply.headers.get("x-headgate-loop")) for reply in replies} == {(200, None)}


async def test_a_call_without_a_run_is_none_of_its_business() -> None:
    async with World(plain, rules=ON) as world:
        agent = Agent(world, headers="")
        for _ in range(6):
            reply = await agent.step("search")
        assert reply.status == 200


async def test_a_loop_is_found_in_the_first_request_that_is_seen() -> None:
    async with World(plain, rules=ON) as world:
        agent = Agent(world)
        for _ in range(5):
            agent.used("search", "{}", "none")
        assert (await agent.ask()).error["code"] == "loop_detected"


async def test_a_runaway_spend_is_refused_at_its_fourth_dear_step() -> None:
    tokens = 100

    async def bill(peer: Peer) -> None:
        usage = {"prompt_tokens": tokens, "completion_tokens": 1, "total_tokens": tokens + 1}
        message = {"role": "assistant", "content": "x"}
        reply = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        await peer.reply(json.dumps({**reply, "usage": usage}).encode())

    async with World(bill, rules=ON) as world:
        for number in range(30):
            quiet = Agent(world, f"X-Headgate-Run: quiet{number}\r\n", max_tokens=9)
            for step in range(8):
                assert (await quiet.step("search", result=str(step))).headers.get("x-headgate-loop") is None
        agent = Agent(world, max_tokens=9)
        for step in range(8):
            await agent.step("search", result=f"{step}")
        tokens = 2_000
        told = [await agent.step("search", result=f"dear {step}") for step in range(5)]
        assert [reply.headers.get("x-headgate-loop") for reply in told] == [
            *(None, None, "annotate spend 2", "throttle spend 3", "refuse spend 4")
        ]


@pytest.mark.parametrize("turns", [b'"x"', b"[1,2]", b'[{"role":7}]', b'[{"role":"assistant","tool_calls":[{}]}]'])
async def test_a_conversation_that_cannot_be_read_is_the_upstreams_business(turns: bytes) -> None:
    async with World(plain, rules=ON) as world:
        reply = await world.request(b'{"model":"m","messages":[%b]}' % turns.strip(b"[]"), headers=RUN)
        assert reply.status == 200
