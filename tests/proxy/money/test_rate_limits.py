"""Calls of one key and agent: in order, all limits together, and nothing is lost whoever leaves."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from msgspec import structs

from policies.rate_limit import RateRules, Rates
from proxy.clock import SystemClock, loop_time
from proxy.execution.line import Queueing
from proxy.money.rate_limits import Quota, RateLimits
from proxy.tasks import Tasks
from proxy.types import Attempt, Call, Identity, Priority, Usage
from tests.build import call, target
from tests.rates import rate_limits as new_rate_limits


def made(rules: RateRules, queueing: Queueing | None = None) -> RateLimits:
    return new_rate_limits(SystemClock(seed=1, now=loop_time), rules, queueing or Queueing(wait_s=100))


def asked(agent: str = "a", key: str = "k", deadline: float = 10_000.0, *, priority: Priority = "standard") -> Call:
    made = call(identity=Identity(key_id=key, agent=agent), deadline=deadline)
    return structs.replace(made, priority=priority)


def quota(limits: RateLimits, agent: str = "a", key: str = "k", *, priority: Priority = "standard") -> Quota:
    found = limits.quota(asked(agent, key, priority=priority))
    assert found is not None
    return found


def attempt(usage: Usage | None) -> Attempt:
    return Attempt(number=1, role="first", target=target(), started_at=0, duration_s=1, lesson="success", usage=usage)


async def test_a_call_that_nothing_limits_has_no_quota() -> None:
    limits = made(RateRules(keys={"k": Rates(rpm=1)}))
    assert limits.limited
    assert limits.quota(asked(key="other")) is None
    assert not made(RateRules()).limited


async def test_the_end_gives_back_once_and_corrects_the_tokens() -> None:
    limits = made(RateRules(keys={"k": Rates(tpm=10_000, concurrency=1)}))
    one = quota(limits)
    assert await one.admit() is None
    assert limits.running == 1
    for _ in range(2):
        one.end([attempt(Usage(input_uncached=100, output=200)), attempt(None)])
    assert limits.running == 0
    assert (one.standing("tokens") or ())[:2] == (10_000, 9_700)


async def test_a_refused_call_gives_nothing_back() -> None:
    limits = made(RateRules(keys={"k": Rates(rpm=1, concurrency=5)}))
    first, second = quota(limits), quota(limits)
    assert await first.admit() is None
    error = await second.admit()
    assert error is not None
    assert error.code == "rate_limit_exceeded"
    second.end([])
    assert limits.running == 1
    assert "admitted=False" in repr(second)


async def test_whoever_waits_is_refused_when_it_has_become_too_fast() -> None:
    limits = made(RateRules(keys={"k": Rates(rpm=2, concurrency=1)}))
    first, second, third = quota(limits), quota(limits), quota(limits)
    assert await first.admit() is None
    waiting = asyncio.gather(second.admit(), third.admit())
    await asyncio.sleep(1)
    first.end([])
    await asyncio.sleep(0)
    second.end([])
    got, refused = await waiting
    assert got is None
    assert refused is not None
    assert refused.details["limits"][0]["unit"] == "requests"  # type: ignore[index]
    assert (limits.running, limits.waiting) == (0, 0)


async def test_newcomers_stand_behind_those_that_wait_and_other_agents_pass() -> None:
    limits = made(RateRules(each_agent=Rates(concurrency=1)))
    first = quota(limits)
    assert await first.admit() is None
    order: list[str] = []

    async def ask(name: str, agent: str) -> None:
        one = quota(limits, agent)
        assert await one.admit() is None
        order.append(name)
        one.end([])

    await asyncio.gather(*[ask("elsewhere", "b")])
    waiting = asyncio.gather(ask("second", "a"), ask("third", "a"))
    await asyncio.sleep(1)
    first.end([])
    await waiting
    assert order == ["elsewhere", "second", "third"]


async def test_who_waits_for_its_key_and_then_for_its_agent_goes_when_both_have_room() -> None:
    limits = made(RateRules(keys={"k": Rates(concurrency=2)}, each_agent=Rates(concurrency=1)))
    of_a, of_b = quota(limits, "a"), quota(limits, "b")
    assert await of_a.admit() is None
    assert await of_b.admit() is None  # the key is full by now
    late = quota(limits, "a")
    waiting = asyncio.gather(late.admit())
    await asyncio.sleep(1)
    of_b.end([])  # the key has room, the agent has not
    await asyncio.sleep(1)
    assert limits.waiting == 1
    of_a.end([])
    assert await waiting == [None]
    late.end([])
    assert (limits.running, limits.waiting) == (0, 0)


@pytest.mark.parametrize(("wait_s", "deadline_in", "waits"), [(5, 100, 5), (50, 3, 3), (0, 100, 0)])
async def test_waiting_ends_with_the_queue_or_the_deadline(wait_s: float, deadline_in: float, waits: float) -> None:
    limits, began = made(RateRules(keys={"k": Rates(concurrency=1)}), Queueing(wait_s=wait_s)), loop_time()
    assert await quota(limits).admit() is None
    late = limits.quota(structs.replace(asked(), deadline=began + deadline_in))
    assert late is not None
    error = await late.admit()
    assert error is not None
    assert loop_time() - began == waits
    assert limits.on_refused.told == [("a", "concurrency")]  # type: ignore[attr-defined]


async def test_new_rules_let_those_go_that_fit_by_now() -> None:
    limits = made(RateRules(keys={"k": Rates(concurrency=1)}))
    assert await quota(limits).admit() is None
    waiting = asyncio.gather(quota(limits).admit())
    await asyncio.sleep(1)
    limits.replace(RateRules(keys={"k": Rates(concurrency=2)}), Queueing())
    assert await waiting == [None]
    limits.replace(RateRules(), Queueing())
    assert not limits.limited


async def test_a_call_that_is_cancelled_as_its_turn_comes_gives_its_place_to_the_next() -> None:
    limits = made(RateRules(keys={"k": Rates(concurrency=1)}))
    first, served = quota(limits), list[str]()
    assert await first.admit() is None

    async def ask(name: str) -> None:
        one = quota(limits)
        try:
            assert await one.admit() is None
            served.append(name)
        finally:
            one.end([])

    tasks = Tasks(lambda name, error: pytest.fail(f"{name}: {error}"))
    unlucky, lucky = (tasks.start(name, ask(name)) for name in ("unlucky", "lucky"))
    await asyncio.sleep(0)
    first.end([])  # the turn of the unlucky one
    unlucky.cancel()
    await asyncio.wait([unlucky, lucky])
    assert (served, limits.running, limits.waiting) == (["lucky"], 0, 0)


async def in_turn(limits: RateLimits, *calls: tuple[str, Priority]) -> list[str]:
    """Who gets the one place in which order, where all wait at once, and who is turned away."""
    first, order = quota(limits), list[str]()
    assert await first.admit() is None

    async def ask(agent: str, priority: Priority) -> None:
        one = quota(limits, agent, priority=priority)
        refused = await one.admit()
        order.append(agent if refused is None else f"not {agent}")
        await asyncio.sleep(1)
        one.end([])

    waiting = asyncio.gather(*[ask(agent, priority) for agent, priority in calls])
    await asyncio.sleep(0.5)
    first.end([])
    await waiting
    assert (limits.running, limits.waiting, limits._lines) == (0, 0, {})
    return order


async def test_in_the_line_of_a_key_urgent_calls_go_first() -> None:
    limits = made(RateRules(keys={"k": Rates(concurrency=1)}))
    order = await in_turn(
        limits, ("d", "batch"), ("b", "standard"), ("e", "batch"), ("a", "critical"), ("c", "standard")
    )
    assert order == ["a", "b", "c", "d", "e"]


async def test_a_full_line_of_a_key_turns_the_least_urgent_away() -> None:
    limits = made(RateRules(keys={"k": Rates(concurrency=1)}), Queueing(wait_s=100, calls_max=2))
    order = await in_turn(limits, ("c", "batch"), ("b", "standard"), ("a", "critical"), ("d", "batch"))
    assert sorted(order[:2]) == ["not c", "not d"]
    assert order[2:] == ["a", "b"]
    assert limits.turned_away == 2


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_is_cancelled_at_any_moment_nothing_is_lost(seed: int) -> None:
    rng = Random(seed)
    rules = RateRules(keys={"k": Rates(concurrency=4, tpm=10**6)}, each_agent=Rates(concurrency=2, rpm=500))
    limits, running = made(rules, Queueing(wait_s=10, calls_max=15)), dict.fromkeys("abc", 0)

    async def ask() -> None:
        agent = rng.choice("abc")
        await asyncio.sleep(rng.random() * 5)
        one = quota(limits, agent, priority=rng.choice(("critical", "standard", "batch")))
        try:
            if await one.admit() is not None:
                return
            running[agent] += 1
            assert running[agent] <= 2
            assert sum(running.values()) <= 4
            try:
                await asyncio.sleep(rng.random() * rng.choice((0, 1)))
            finally:
                running[agent] -= 1
        finally:
            one.end([])

    tasks = Tasks(lambda name, error: pytest.fail(f"{name}: {error!r}"))
    started = [tasks.start("ask", ask()) for _ in range(60)]
    for _ in range(30):
        await asyncio.sleep(rng.random() / 3)
        rng.choice(started).cancel()
    await asyncio.wait(started)
    assert (limits.running, limits.waiting, limits._lines) == (0, 0, {})
    assert await quota(limits).admit() is None
