"""Two replicas that keep the prompts they have read: a conversation stays where it began, over sockets."""

from __future__ import annotations

import asyncio
import json

from msgspec import structs

from policies.plan import Planner, Route, Routes
from proxy.types import KeyRecord
from tests.flow.world import Peer, World

TURNS = 8
LONG = "a word and another one " * 200  # some KiB


class Replica:
    """Answers, and says how much of the prompt it has seen before."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.down = False

    async def __call__(self, peer: Peer) -> None:
        if self.down:
            await peer.reply(b'{"error":{"message":"down"}}', status="503 Service Unavailable")
            return
        messages = json.dumps(peer.json["messages"])
        cached = max((len(each) - 1 for each in self.seen if messages.startswith(each[:-1])), default=0)
        self.seen.append(messages)
        await asyncio.sleep((len(messages) - cached) / 4 / 8_000)  # as fast as an engine is thought to be at first
        answer = {"role": "assistant", "content": "yes"}
        details = {"cached_tokens": cached // 4}
        usage = {"prompt_tokens": len(messages) // 4, "completion_tokens": 2, "prompt_tokens_details": details}
        choice = {"index": 0, "message": answer, "finish_reason": "stop"}
        reply = {"id": "c", "object": "chat.completion", "model": "real", "choices": [choice], "usage": usage}
        await peer.reply(json.dumps(reply).encode())


def keeping(world: World) -> None:
    """The targets of the world keep prompts, and calls go by score."""
    route = world.snapshot.planner.routes.find("m")
    assert route is not None
    targets = tuple(
        structs.replace(each, traits=structs.replace(each.traits, prefix_cache=True, kv_tokens=100_000))
        for each in route.targets
    )
    world.snapshot = structs.replace(world.snapshot, planner=Planner(Routes((Route("m", targets),))))


async def talk(world: World, run: str, turns: int = TURNS, key: str = "") -> list[str]:
    """The targets that served the turns of one conversation."""
    messages, targets = [{"role": "system", "content": run + LONG}], []
    for turn in range(turns):
        messages.append({"role": "user", "content": f"{turn} {LONG}"})
        body = json.dumps({"model": "m", "messages": messages}).encode()
        headers = f"X-Headgate-Run: {run}\r\n"
        response = await (
            world.request(body, headers=headers, key=key) if key else world.request(body, headers=headers)
        )
        assert response.status == 200
        targets.append(response.headers["x-headgate-target"])
        messages.append({"role": "assistant", "content": "yes"})
    return targets


async def test_a_conversation_stays_on_its_home() -> None:
    async with World(Replica(), Replica()) as world:
        keeping(world)
        homes = [await talk(world, f"run-{number}") for number in range(8)]
        assert all(len(set(targets)) == 1 for targets in homes)
        assert {targets[0] for targets in homes} == {"up0/real", "up1/real"}  # and conversations are spread
        reported = sum(world.steering.warmth.affinity.told(id).reported for id in ("up0/real", "up1/real"))
        expected = sum(world.steering.warmth.affinity.told(id).expected for id in ("up0/real", "up1/real"))
    assert 0.8 * reported < expected < 1.2 * reported


async def test_a_choice_says_how_much_of_the_prompt_it_expects_there() -> None:
    async with World(Replica(), Replica()) as world:
        keeping(world)
        await talk(world, "run", 3)
    said = [decision.said for decision in world.outcomes[-1].decisions]
    assert any("prompt tokens expected in its memory" in each for each in said), said


async def test_without_engines_that_keep_prompts_nothing_is_expected() -> None:
    async with World(Replica(), Replica()) as world:
        await talk(world, "run", 3)
        assert repr(world.steering.warmth.affinity) == "Affinity()"


async def test_a_home_that_fails_is_left_and_the_call_is_answered() -> None:
    replicas = {"up0/real": Replica(), "up1/real": Replica()}
    async with World(*replicas.values()) as world:
        keeping(world)
        (home,) = set(await talk(world, "run"))
        replicas[home].down = True
        assert set(await talk(world, "run", 2)) == {"up0/real", "up1/real"} - {home}


async def test_the_same_prompt_of_another_tenant_is_not_drawn_to_the_first_ones_home() -> None:
    async with World(Replica(), Replica()) as world:
        keeping(world)
        world.keys.records["hg-other"] = KeyRecord("key-2")
        await talk(world, "run", 4)
        await talk(world, "run", 1, key="hg-other")
    (choice,) = [each for each in world.outcomes[-1].decisions if "expected in its memory" in each.said]
    assert "with 0 of" in choice.said
