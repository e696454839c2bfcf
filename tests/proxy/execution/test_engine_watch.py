"""Engines that others ask as well are seen to be busy; those that say nothing are left alone and cost nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import pytest
from msgspec import structs
from multidict import CIMultiDict

from policies.balance import Router
from policies.load import Loads
from proxy.clock import SystemClock, loop_time
from proxy.dialects.openai_chat import OpenAI
from proxy.errors import ProxyError
from proxy.execution.engine_watch import EVERY_S, LEFT_ALONE_S, EngineWatch
from proxy.providers.base import UpstreamRequest, unnoticed
from proxy.providers.openai_compatible import Account, OpenAICompatible
from tests.build import call, target
from tests.policies.test_engine_load import VLLM

IDLE = VLLM.replace(b"} 3.0", b"} 0.0").replace(b"} 1.0", b"} 0.0").replace(b"} 12.0", b"} 0.0")


class Reply:
    status = 200
    headers = CIMultiDict[str]()
    unread = 0

    def __init__(self, body: bytes) -> None:
        self.pieces = [body[:100], body[100:]]

    async def read(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def close(self) -> None:
        self.pieces = []


class Engine:
    def __init__(self, body: bytes | None) -> None:
        self.body = body
        self.asked: list[str] = []

    async def send(self, request: UpstreamRequest, sent: Callable[[], None] = unnoticed) -> Reply:
        self.asked.append(request.url)
        if self.body is None:
            raise ProxyError("upstream_unreachable", "refused", sent=False)
        return Reply(self.body)

    async def close(self) -> None: ...


class House:
    def __init__(self, **bodies: bytes | None) -> None:
        self.clock = SystemClock(seed=1, now=loop_time)
        self.loads = Loads()
        self.engines = {name: Engine(body) for name, body in bodies.items()}
        account = Account(base_url="http://127.0.0.1:9/v1", engine="vllm")
        providers = {
            name: OpenAICompatible(name, account, dialect=OpenAI(), transport=engine, clock=self.clock)
            for name, engine in self.engines.items()
        }
        self.targets = tuple(target(f"{name}/m") for name in bodies)
        self.watch = EngineWatch(self.loads, self.clock, lambda: providers)
        for each in self.targets:  # both have been asked once
            ticket = self.loads.started(call(), each, loop_time())
            self.loads.first_event(ticket, loop_time())
            self.loads.ended(ticket, loop_time(), None)

    def chosen(self) -> set[str]:
        router, rng = Router("score", self.loads), Random(1)
        now, asked = loop_time() + 60, structs.replace(call(), priority="critical")  # which explores nothing
        return {router.choose(asked, self.targets, tried=(), now=now, rng=rng).target.id for _ in range(20)}


async def test_the_one_that_others_keep_busy_is_left_to_them() -> None:
    house = House(busy=VLLM, free=IDLE)
    assert house.chosen() == {"busy/m", "free/m"}
    await house.watch.look()
    assert house.chosen() == {"free/m"}
    assert house.engines["busy"].asked == ["http://127.0.0.1:9/metrics"]
    house.engines["busy"].body = IDLE
    await house.watch.look()
    assert house.chosen() == {"busy/m", "free/m"}


async def test_what_it_does_for_this_gate_is_not_counted_twice() -> None:
    house = House(busy=VLLM, free=IDLE)
    for _ in range(16):  # all that it says
        house.loads.first_event(house.loads.started(call(), house.targets[0], 1.0), 1.0)
    before = house.loads.scores(call(), house.targets, 2.0)
    await house.watch.look()
    assert house.loads.scores(call(), house.targets, 2.0) == before


@pytest.mark.parametrize("body", [None, b"not found", b""])
async def test_who_says_nothing_is_left_alone(body: bytes | None) -> None:
    house = House(mute=body, free=IDLE)
    keeping = asyncio.ensure_future(house.watch.keep())  # noqa: TID251
    await asyncio.sleep(LEFT_ALONE_S)
    assert len(house.engines["mute"].asked) == 1
    assert len(house.engines["free"].asked) == int(LEFT_ALONE_S / EVERY_S) - 1
    assert house.chosen() == {"mute/m", "free/m"}
    await asyncio.sleep(2 * EVERY_S)
    assert len(house.engines["mute"].asked) == 2
    keeping.cancel()


async def test_what_it_said_last_does_not_stay_once_it_falls_silent() -> None:
    house = House(busy=VLLM, free=IDLE)
    await house.watch.look()
    house.engines["busy"].body = None
    await house.watch.look()
    assert house.chosen() == {"busy/m", "free/m"}
