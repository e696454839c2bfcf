"""Twice as much as the target can do, for minutes: it stays busy, who is let in is served soon, and it ends by itself.

The real permits, lines and admission in virtual time; the target is sixteen places and a service time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from zlib import crc32

import pytest
from msgspec import Struct, structs

from policies.provider_limits import TargetRules
from policies.rate_limit import Rates
from policies.usual_output import UsualOutput
from proxy.clock import SystemClock, loop_time
from proxy.errors import ProxyError
from proxy.execution.admission import Admission
from proxy.execution.line import Queueing
from proxy.execution.permits import Permits
from proxy.types import Identity, Plan, Priority
from tests.build import call, target, usage

PLACES, SERVICE_S = 16, 1.0
CAPACITY = PLACES / SERVICE_S  # answers a second
TARGET = target()
PLAN = Plan(mode="single", steps=((TARGET,),), reason="")
RULES = TargetRules(targets={TARGET.id: Rates(concurrency=PLACES)})


class Asked(Struct):
    """One call: when it came, how long it waited, and what became of it."""

    at: float
    steps: int  # of its run, before it
    priority: Priority
    waited_s: float = 0.0
    refused: str = ""
    retry_after_s: float = 0.0
    ended_at: float = 0.0


class Target16:
    def __init__(self, queueing: Queueing | None = None) -> None:
        self.rng = random.Random(7)
        self.clock = SystemClock(seed=7, now=loop_time)
        self.steps: dict[str, int] = {}
        self.asked: list[Asked] = []
        self.permits = Permits(
            RULES,
            self.clock,
            usual=UsualOutput(),
            on_refused=lambda agent, kind: None,
            queueing=queueing,
            progress=lambda who: self.steps.get(who.run or "", 0),
        )
        self.admission = Admission(self.permits, self.clock)

    async def ask(
        self, run: str, priority: Priority = "standard", *, deadline_s: float = 600.0, agent: str = ""
    ) -> Asked:
        now = self.clock.now()
        asked = Asked(now, self.steps.get(run, 0), priority)
        self.asked.append(asked)
        agent = agent or f"agent-{crc32(run.encode()) % 5}"
        made = call(identity=Identity("k", agent, run=run), deadline=now + deadline_s)
        made = structs.replace(made, id=run, priority=priority, arrived_at=now, input_tokens_estimate=2_000)
        plan = self.admission.admit(made, PLAN)
        got = plan if isinstance(plan, ProxyError) else await self.permits.acquire(TARGET, self.permits.claim(made))
        asked.waited_s = self.clock.now() - now
        if isinstance(got, ProxyError):
            asked.refused, asked.retry_after_s = got.code, got.retry_after_s or 0.0
            return asked
        await asyncio.sleep(SERVICE_S * self.rng.uniform(0.5, 1.5))
        got.release(usage(2_000, 100))
        asked.ended_at = self.clock.now()
        self.steps[run] = self.steps.get(run, 0) + 1
        return asked

    async def run(self, name: str, steps: int, priority: Priority) -> None:
        """A run gives up where a step of it is refused."""
        for _ in range(steps):
            if (await self.ask(name, priority)).refused:
                return
            await asyncio.sleep(0.5)

    async def offer(self, load: float, seconds: float, *, steps: int = 8, priority: Priority = "standard") -> None:
        """Runs begin, by chance, so often that all of their calls would be `load` times what the target can do."""
        gap_s, until = steps / (load * CAPACITY), self.clock.now() + seconds
        async with asyncio.TaskGroup() as runs:
            while self.clock.now() < until:
                runs.create_task(self.run(f"{priority}-{len(self.asked)}-{self.clock.now()}", steps, priority))
                await asyncio.sleep(self.rng.expovariate(1 / gap_s))

    def between(self, begin: float, end: float) -> Iterator[Asked]:
        return (asked for asked in self.asked if begin <= asked.at < end)

    def goodput(self, begin: float, end: float) -> float:
        return sum(begin <= asked.ended_at < end for asked in self.asked) / (end - begin) / CAPACITY

    def refused(self, begin: float, end: float, *, going_on: bool) -> float:
        """The part of them that was turned away: of runs that go on, or of new ones."""
        calls = [bool(asked.refused) for asked in self.between(begin, end) if (asked.steps > 0) is going_on]
        return sum(calls) / len(calls)


async def overloaded(steps: int, load: float, seconds: float) -> tuple[Target16, float]:
    """Half a minute of quiet, an overload, half a minute of quiet; and when the overload began."""
    world = Target16()
    begin = world.clock.now() + 30
    async with asyncio.TaskGroup() as phases:
        phases.create_task(world.offer(0.4, seconds + 60, steps=steps))
        await asyncio.sleep(30)
        phases.create_task(world.offer(load - 0.4, seconds, steps=steps))
    return world, begin


@pytest.mark.parametrize("load", [2.0, pytest.param(3.0, marks=pytest.mark.slow)])
async def test_an_overload_costs_no_goodput_and_ends_by_itself(load: float) -> None:
    world, begin = await overloaded(1, load, 120)
    end = begin + 120
    assert not any(asked.refused for asked in world.between(0, begin))
    assert world.goodput(begin + 20, end) >= 0.95
    waits = [asked.waited_s for asked in world.between(begin, end) if not asked.refused]
    assert max(waits) <= 10.0
    assert sum(waits) / len(waits) <= 6.0, "the goal is five seconds: half of what a call may wait"
    assert not any(asked.refused or asked.waited_s > 1.0 for asked in world.between(end + 15, end + 60))


async def test_who_is_turned_away_hears_so_at_once_and_when_to_come_back() -> None:
    world, begin = await overloaded(1, 2.0, 60)
    shed = [asked for asked in world.between(begin + 20, begin + 60) if asked.refused == "overloaded"]
    assert all(asked.waited_s == 0.0 for asked in shed)
    hints = [asked.retry_after_s for asked in shed]
    assert 2.0 < sum(hints) / len(hints) < 8.0, "until those that wait have gone"
    assert world.admission.shed == sum(asked.refused == "overloaded" for asked in world.asked)


@pytest.mark.slow
async def test_runs_that_have_got_somewhere_are_let_in_before_new_ones() -> None:
    world, begin = await overloaded(8, 2.0, 200)
    end = begin + 200
    assert world.goodput(begin + 30, end) >= 0.95
    new, going_on = (world.refused(begin + 30, end, going_on=each) for each in (False, True))
    assert new > 0.3
    assert going_on < new / 6


async def test_batch_calls_stop_first_and_interactive_ones_notice_next_to_nothing() -> None:
    world = Target16()
    begin = world.clock.now()
    loads: dict[Priority, float] = {"critical": 0.1, "interactive": 0.3, "standard": 0.4, "batch": 1.5}
    async with asyncio.TaskGroup() as all_of_them:
        for priority, load in loads.items():
            all_of_them.create_task(world.offer(load, 80, steps=1, priority=priority))
    turned_away = {
        priority: [bool(asked.refused) for asked in world.between(begin + 30, begin + 80) if asked.priority == priority]
        for priority in loads
    }
    shares = {priority: sum(each) / len(each) for priority, each in turned_away.items()}
    assert shares["critical"] == shares["interactive"] == 0.0
    assert shares["standard"] < 0.05
    assert shares["batch"] > 0.4
    waits = [asked.waited_s for asked in world.asked if asked.priority in ("critical", "interactive")]
    assert max(waits) < 2.0
    assert world.goodput(begin + 30, begin + 80) >= 0.95


async def test_interactive_calls_go_newest_first_while_there_are_too_many_of_them() -> None:
    world = Target16()
    await world.offer(2.0, 120, steps=1, priority="interactive")
    begun = [asked for asked in world.asked if not asked.refused]
    waits = sorted(asked.waited_s for asked in begun)
    assert waits[len(waits) // 2] < 0.5, "half of them are served while somebody still looks"
    assert world.goodput(1020, 1120) >= 0.95


async def test_what_cannot_end_in_time_is_refused_before_it_waits() -> None:
    world = Target16()
    async with asyncio.TaskGroup() as both:
        both.create_task(world.offer(2.0, 60, steps=1))
        await asyncio.sleep(30)
        hurried = await world.ask("hurried", deadline_s=2.0)
        assert (hurried.refused, hurried.waited_s) == ("deadline_exceeded", 0.0)
        urgent = await world.ask("urgent", "critical", deadline_s=2.0)
        assert urgent.refused == ""


async def test_an_agent_that_floods_costs_another_that_does_not_next_to_nothing() -> None:
    world = Target16()

    async def flood(number: int) -> None:
        await world.ask(f"flood-{number}", agent="flood")

    async def calm(number: int) -> Asked:
        return await world.ask(f"calm-{number}", agent="calm", deadline_s=4.0)

    async with asyncio.TaskGroup() as tasks:
        asked = []
        for number in range(60 * 40):  # a minute at two and a half times what can be done; one in twenty is calm
            tasks.create_task(flood(number))
            if not number % 20:
                asked.append(tasks.create_task(calm(number)))
            await asyncio.sleep(1 / 40)
    answers = [task.result() for task in asked[20:]]
    assert sum(bool(answer.refused) for answer in answers) <= len(answers) / 20
    assert max(answer.waited_s for answer in answers) < 2.0
    assert world.admission.shed > 500
