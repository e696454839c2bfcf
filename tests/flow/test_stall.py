"""A stream that stands still for longer than its target's streams ever do is given up before the configured time."""

from __future__ import annotations

import asyncio

import pytest

from policies.stall import FLOOR_S, GAPS_LEAST, STREAMS_LEAST
from policies.survival import Survival
from proxy.snapshot import AgentRules
from tests.flow.test_survival import Engine, assert_one_answer, silence
from tests.flow.world import DONE, FINISH, Peer, World, streaming, token

TOKENS = GAPS_LEAST // STREAMS_LEAST + 10
PAUSE_S = 0.02


class Steady:
    def __init__(self) -> None:
        self.stalls = False

    async def __call__(self, peer: Peer) -> None:
        await peer.stream_head()
        for _ in range(TOKENS):
            await peer.chunk(token("a"))
            await asyncio.sleep(PAUSE_S)
        if self.stalls:
            await peer.gone()
            return
        for event in (FINISH, DONE):
            await peer.chunk(event)
        await peer.end()


async def given_up_after(world: World, steady: Steady) -> float:
    steady.stalls = True
    loop = asyncio.get_running_loop()
    began = loop.time()
    response = await world.stream()
    assert b'"code":"upstream_stalled"' in response.body
    return loop.time() - began - TOKENS * PAUSE_S


async def test_a_target_whose_streams_never_pause_is_not_waited_for_to_the_end() -> None:
    steady = Steady()
    async with World(steady, rules=AgentRules(idle_timeout_s=60.0)) as world:
        for _ in range(STREAMS_LEAST):
            assert (await world.stream()).complete
        waited = await given_up_after(world, steady)
        assert FLOOR_S - 0.1 <= waited < FLOOR_S + 0.5
    assert world.outcomes[-1].attempts[0].lesson == "overload"


async def test_before_it_is_known_the_configured_time_holds_and_it_stays_the_upper_bound() -> None:
    for known, limit_s in ((0, 60.0), (STREAMS_LEAST, 5.0)):
        steady = Steady()
        async with World(steady, rules=AgentRules(idle_timeout_s=limit_s)) as world:
            for _ in range(known):
                await world.stream()
            assert await given_up_after(world, steady) == pytest.approx(limit_s, abs=0.5)


async def test_a_stalled_stream_goes_on_elsewhere_as_soon_as_it_is_given_up() -> None:
    rules = AgentRules(idle_timeout_s=60.0, survival=Survival("continue"))
    async with World(Engine("first", 3, death=silence), Engine("second"), rules=rules, continues=True) as world:
        for _ in range(STREAMS_LEAST):
            world.steering.stalls.ended("up0/real", (100, *[0] * 15))
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert_one_answer(await world.stream(), "up1/real")
        assert loop.time() - began < FLOOR_S + 0.5


async def test_a_plain_call_that_stands_still_is_answered_elsewhere_as_soon() -> None:
    steady = Steady()
    steady.stalls = True
    plain = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
    async with World(steady, streaming, rules=AgentRules(idle_timeout_s=60.0)) as world:
        for _ in range(STREAMS_LEAST):
            world.steering.stalls.ended("up0/real", (100, *[0] * 15))
        loop = asyncio.get_running_loop()
        began = loop.time()
        response = await world.request(plain)
        assert response.status == 200
        assert loop.time() - began - TOKENS * PAUSE_S == pytest.approx(FLOOR_S, abs=0.5)
    assert [each.error_code for each in world.outcomes[0].attempts] == ["upstream_stalled", None]
