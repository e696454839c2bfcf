"""Providers that are out are asked now and then, for free, within bounds; who answers may be tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from random import Random

import pytest
from multidict import CIMultiDict

from policies.breaker import FAILED_PROBES, Breakers
from proxy.clock import SystemClock, loop_time
from proxy.dialects.openai_chat import OpenAI
from proxy.errors import ProxyError
from proxy.execution.probing import ASKING_MAX, EVERY_S, TIMEOUT_S, Probing
from proxy.providers.base import Provider, UpstreamRequest, unnoticed
from proxy.providers.openai_compatible import Account, OpenAICompatible
from proxy.tasks import Tasks
from tests.build import target

RNG = Random(1)


class Reply:
    def __init__(self, status: int) -> None:
        self.status = status
        self.headers: Mapping[str, str] = CIMultiDict()
        self.unread = 0
        self.closed = False

    async def read(self) -> bytes:
        raise AssertionError("nobody asked for more than its status")

    def close(self) -> None:
        self.closed = True


class Upstream:
    """Answers with a status after `delay_s`; 0 refuses connections."""

    def __init__(self, status: int = 200, delay_s: float = 0.01) -> None:
        self.status, self.delay_s = status, delay_s
        self.asked: list[tuple[float, str, str]] = []
        self.replies: list[Reply] = []

    async def send(self, request: UpstreamRequest, sent: Callable[[], None] = unnoticed) -> Reply:
        self.asked.append((loop_time(), request.method, request.url))
        await asyncio.sleep(self.delay_s)
        if not self.status:
            raise ProxyError("upstream_unreachable", "refused", sent=False)
        self.replies.append(Reply(self.status))
        return self.replies[-1]

    async def close(self) -> None: ...


class House:
    def __init__(self, upstream: Upstream, *, health: str = "auto", checked: bool = False, providers: int = 1) -> None:
        self.clock = SystemClock(seed=1, now=loop_time)
        self.breakers = Breakers()
        self.tasks = Tasks(lambda name, error: pytest.fail(f"{name}: {error!r}"))
        self.providers: dict[str, Provider] = {
            f"p{number}": OpenAICompatible(
                f"p{number}",
                Account("vllm", f"http://gpu{number}/v1", health=health, checked=checked),
                dialect=OpenAI(),
                transport=upstream,
                clock=self.clock,
            )
            for number in range(providers)
        }
        self.probing = Probing(self.breakers, self.clock, self.tasks, lambda: self.providers)

    def fail(self, id: str = "p0/m") -> None:
        for _ in range(5):
            now = self.clock.now()
            self.breakers.begin(target(id), now).ended("failure", "upstream_error", now=now, rng=RNG)
        assert self.breakers.state(id) == "open"

    async def run(self, seconds: float) -> None:
        task = self.tasks.start("probing", self.probing.keep())
        await asyncio.sleep(seconds)
        task.cancel()
        await self.tasks.close()


async def test_nobody_is_asked_while_all_is_well() -> None:
    upstream = Upstream()
    house = House(upstream)
    house.breakers.begin(target("p0/m"), 0.0).ended("success", None, now=0.0, rng=RNG)
    await house.run(100)
    assert upstream.asked == []


async def test_who_answers_again_may_be_tried_at_once() -> None:
    upstream = Upstream()
    house, began = House(upstream), loop_time()
    house.fail()
    await house.run(1.2 * EVERY_S)
    ((at, method, url),) = upstream.asked
    assert (method, url) == ("GET", "http://gpu0/health")
    assert 0.9 * EVERY_S <= at - began <= 1.1 * EVERY_S
    assert house.breakers.state("p0/m") == "half_open"
    assert upstream.replies[0].closed


@pytest.mark.parametrize("status", [0, 302, 401, 404, 503])
async def test_who_is_not_well_stays_out(status: int) -> None:
    upstream = Upstream(status)
    house = House(upstream)
    house.fail()
    await house.run(100)
    assert 9 <= len(upstream.asked) <= 11
    assert house.breakers.state("p0/m") == "open"


async def test_who_says_nothing_is_not_waited_for_and_not_asked_twice_at_a_time() -> None:
    upstream = Upstream(delay_s=1e6)
    house = House(upstream)
    house.fail()
    house.probing.ask()
    house.probing.ask()
    await asyncio.sleep(0)
    assert len(upstream.asked) == 1
    assert "p0" in repr(house.probing)
    await asyncio.sleep(TIMEOUT_S + 0.1)
    assert len(house.tasks) == 0
    house.probing.ask()
    await asyncio.sleep(0)
    assert len(upstream.asked) == 2
    await house.tasks.close()


async def test_questions_are_bounded_in_number_and_nobody_is_left_out_for_ever() -> None:
    upstream = Upstream(503)
    house = House(upstream, providers=3 * ASKING_MAX)
    for name in house.providers:
        house.fail(f"{name}/m")
    house.probing.ask()
    assert len(house.tasks) == ASKING_MAX
    await house.run(30 * EVERY_S)
    urls = [url for _, _, url in upstream.asked]
    assert all(9 <= urls.count(f"http://gpu{number}/health") <= 11 for number in range(3 * ASKING_MAX))


async def test_who_is_not_to_be_asked_is_left_alone() -> None:
    upstream = Upstream()
    house = House(upstream, health="off", checked=True)
    house.fail()
    await house.run(100)
    assert upstream.asked == []
    assert house.breakers.state("p0/m") == "open"


async def test_a_provider_that_is_no_longer_configured_is_not_asked() -> None:
    upstream = Upstream()
    house = House(upstream)
    house.fail()
    house.providers.clear()
    await house.run(100)
    assert upstream.asked == []


async def test_a_provider_that_is_checked_is_taken_out_by_questions_in_vain() -> None:
    upstream = Upstream(503)
    house = House(upstream, checked=True)
    house.breakers.begin(target("p0/m"), 0.0).ended("success", None, now=0.0, rng=RNG)
    await house.run((FAILED_PROBES - 0.5) * EVERY_S)
    assert house.breakers.state("p0/m") == "closed"
    await house.run(1.2 * EVERY_S)
    assert house.breakers.state("p0/m") == "open"
    upstream.status = 200
    await house.run(1.2 * EVERY_S)
    assert house.breakers.state("p0/m") == "half_open"
