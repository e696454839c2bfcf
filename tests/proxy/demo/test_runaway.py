"""The agent that does not stop by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import pytest

from proxy.clock import SystemClock, loop_time
from proxy.demo.client import Client, Failed, Reply
from proxy.demo.runaway import LOOPS, RUN, Runaway, rampage
from proxy.demo.story import Span, Story

STORY = Story(60.0, (), 5.0, 1.0, runaway=Span(45.0, 55.0))


class Scripted(Client):
    """Answers after a second, `answers` times; then it fails with `code`."""

    def __init__(self, answers: int = 1_000, code: str = "") -> None:
        self.sizes: list[int] = []
        self.runs: set[str] = set()
        self._left, self._code = answers, code

    async def ask(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        self.sizes.append(len(json.loads(body)["messages"]))
        self.runs.add(headers["X-Headgate-Run"])
        await asyncio.sleep(1.0)
        self._left -= 1
        if self._left < 0:
            raise Failed(self._code)
        return Reply("x", 0.5)


def wild(client: Client, stopping: asyncio.Event | None = None) -> Runaway:
    return Runaway(client, 1, clock=SystemClock(1, now=loop_time), stopping=stopping or asyncio.Event())


async def ran(client: Client) -> tuple[Runaway, float]:
    """And how long it went on, from the beginning of the story."""
    agent, began_at = wild(client), loop_time()
    await agent.run(STORY, began_at)
    return agent, loop_time() - began_at


async def test_unless_somebody_stops_it_it_goes_on_until_its_time_is_over() -> None:
    client = Scripted()
    agent, took_s = await ran(client)
    assert took_s == pytest.approx(55.0)
    assert agent.tally.calls == agent.answered == 10 * LOOPS
    assert client.runs == {RUN}
    assert max(client.sizes) == 2 * 10  # it sends all it has said before
    assert rampage(agent, 7, 0.0).refused is None


async def test_the_refusal_of_a_budget_ends_all_of_it() -> None:
    agent, began_at = wild(Scripted(4, "budget_exceeded")), loop_time()
    running = asyncio.get_running_loop().create_task(agent.run(STORY, began_at))
    await agent.over.wait()
    assert loop_time() - began_at == pytest.approx(47.0)
    await running
    took_s = loop_time() - began_at
    assert took_s == pytest.approx(48.0)  # the loop whose answer came first had asked once more
    assert agent.answered == 4
    assert agent.refused_at is not None
    told = rampage(agent, 7, agent.refused_at - 47.04)
    assert (told.calls, told.usd_nanos, told.refused, told.refused_at_s) == (7, 7, "budget_exceeded", 47.0)


async def test_a_provider_that_fails_does_not_stop_it() -> None:
    agent, took_s = await ran(Scripted(4))
    assert took_s == pytest.approx(55.0)
    assert (agent.answered, agent.refused) == (4, None)


async def test_a_demo_that_is_ended_early_does_not_wait_for_it() -> None:
    stopping = asyncio.Event()
    agent, began_at = wild(Scripted(), stopping), loop_time()
    asyncio.get_running_loop().call_later(3.0, stopping.set)
    await agent.run(STORY, began_at)
    assert loop_time() - began_at == pytest.approx(3.0)
    assert agent.tally.calls == 0
