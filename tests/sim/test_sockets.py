"""The same scenes over real loopback sockets: surface, server and transport are those of production.

Here clients can leave where memory has no place for it: in the middle of their upload, between head and body, with
half a connection closed. Time is virtual still.
"""

from __future__ import annotations

import asyncio
import json
from random import Random

import pytest

from policies.retry import Retry
from proxy.providers.base import UpstreamRequest
from proxy.snapshot import AgentRules, Limits
from proxy.types import Outcome
from tests.flow.world import Peer, Response, World, head, read_response
from tests.sim.invariants import texts_of
from tests.sim.scenes import SCENES, Scenes, text_of
from tests.sim.vendor import Script

PATH = "/agents/a/runs/r/v1/chat/completions"
ON_SOCKETS = tuple(scene for scene in SCENES if scene != "refused")
RULES = AgentRules(deadline_s=40.0, first_token_timeout_s=6.0, idle_timeout_s=4.0, retry=Retry(attempts=3))
LIMITS = Limits(write_timeout_s=5.0, heartbeat_s=1.0, body_floor_s=3.0, drain_s=10.0)


class Played:
    """Plays scripts to whoever connects, and remembers whether an end marker was sent in each generation."""

    def __init__(self, scenes: Scenes) -> None:
        self._scenes = scenes
        self.requests = 0
        self.resets = 0  # before a head: on a connection that was idle before, the transport may ask once more

    async def __call__(self, peer: Peer) -> None:
        self.requests += 1
        script = self._scenes(UpstreamRequest("POST", "", {}, peer.body))
        loop = asyncio.get_running_loop()
        began = loop.time()
        if script.head_at > 100:
            await peer.gone()
            raise ConnectionResetError
        await asyncio.sleep(script.head_at)
        if script.fault is not None:
            self.resets += 1
            peer.reset()
            raise ConnectionResetError
        headers = "".join(f"{name}: {value}\r\n" for name, value in script.headers)
        await peer.write(f"HTTP/1.1 {script.status} OK\r\n{headers}Transfer-Encoding: chunked\r\n\r\n".encode())
        for step in script.steps:
            await asyncio.sleep(max(0.0, began + step.at - loop.time()))
            await peer.chunk(step.data)
        await _end(peer, script)


async def _end(peer: Peer, script: Script) -> None:
    if script.end == "clean":
        await peer.end()
        return
    if script.end == "silence":
        await peer.gone()
    else:
        peer.reset()
    raise ConnectionResetError


class Caller:
    """One client on one connection; `responses` are those it stayed for."""

    def __init__(self, world: World, rng: Random) -> None:
        self.responses: list[tuple[dict[str, object], Response]] = []
        self.left = 0
        self._world = world
        self._rng = rng

    async def run(self) -> None:
        for _ in range(self._rng.randint(1, 3)):
            await asyncio.sleep(self._rng.uniform(0, 3))
            await self._ask()

    async def _ask(self) -> None:
        rng = self._rng
        body: dict[str, object] = {
            "model": "m",
            "messages": [{"role": "user", "content": "word " * rng.randint(1, 90)}],
        }
        if rng.random() < 0.7:
            body["stream"] = True
        raw = json.dumps(body).encode()
        reader, writer = await self._world.connect()
        wire = head(raw, path=PATH, headers=rng.choice(("", "X-Headgate-Deadline: 3\r\n"))) + raw
        how = rng.choice(("stays", "stays", "stays", "upload", "soon", "half", "mid-stream"))
        if how == "upload":
            writer.write(wire[: rng.randint(1, len(wire) - 1)])
            await asyncio.sleep(rng.uniform(0, 5))
            self.left += 1
        elif how == "stays":
            writer.write(wire)
            self.responses.append((body, await read_response(reader)))
        else:
            writer.write(wire)
            await asyncio.sleep(rng.uniform(0, 4))
            if how == "mid-stream":
                await asyncio.wait((asyncio.get_running_loop().create_task(_some(reader)),), timeout=20)
            self.left += 1
        if how == "half" and writer.can_write_eof():
            writer.write_eof()
            await asyncio.sleep(1)
        writer.close()


async def _some(reader: asyncio.StreamReader) -> None:
    await reader.read(400)


async def live(seed: int) -> None:
    rng = Random(seed)
    played = [
        Played(Scenes(f"v{at}", Random(rng.random()), enabled=tuple(rng.sample(ON_SOCKETS, 5)), share=0.5))
        for at in range(2)
    ]
    abort = rng.choice(("stops", "continues", "unknown"))
    async with World(*played, rules=RULES, limits=LIMITS, abort=abort) as world:
        callers = [Caller(world, Random(rng.random())) for _ in range(4)]
        async with asyncio.TaskGroup() as group:
            for caller in callers:
                group.create_task(caller.run())
        await asyncio.sleep(60)
        assert world.pipeline.in_flight == 0
        outcomes = {outcome.call.id: outcome for outcome in world.outcomes}
        tried = sum(len(outcome.attempts) for outcome in world.outcomes)
        requests = sum(one.requests for one in played)
        assert requests - sum(one.resets for one in played) <= tried <= requests
        for caller in callers:
            for body, response in caller.responses:
                check(body, response, outcomes)
        posted = world.store.account("agent:a")
        total = sum(outcome.cost_usd_nanos or 0 for outcome in world.outcomes)
        assert (posted.held_usd_nanos, posted.posted_usd_nanos) == (0, total)
    assert world.transport.open_connections == 0


def check(body: dict[str, object], response: Response, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[response.headers["x-headgate-request-id"]]
    assert outcome.call.identity.run == "r"
    if response.status != 200:
        assert response.complete
        assert response.status not in (401, 403, 500)
        assert (response.status, response.error["message"] != "") == (outcome.status, True)
        return
    assert response.complete == (outcome.error_code is None)
    done = response.body.count(b"data: [DONE]")
    assert done <= 1
    assert not (done and outcome.error_code)
    for text in texts_of(response.body).values():
        assert "".join(map(text_of, range(len(text) // 4 + 1))).startswith(text)
    if body.get("stream"):
        assert b'"usage":{' not in response.body


async def test_a_body_that_comes_in_pieces_ends_at_its_limit() -> None:
    async with World(_never, limits=Limits(body_bytes_max=10_000)) as world:
        reader, writer = await world.connect()
        writer.write(head(b"", path=PATH, headers="Transfer-Encoding: chunked\r\n"))
        for _ in range(11):
            writer.write(b"3e8\r\n" + b" " * 1000 + b"\r\n")
            await asyncio.sleep(0.1)
        assert (await read_response(reader)).status == 413
        assert not world.outcomes[0].attempts


async def _never(peer: Peer) -> None:
    raise AssertionError("the upstream was asked")


@pytest.mark.parametrize("seed", range(6))
async def test_the_invariants_hold_over_sockets(seed: int) -> None:
    await live(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 150))
async def test_the_invariants_hold_over_sockets_for_more_seeds(seed: int) -> None:
    await live(seed)
