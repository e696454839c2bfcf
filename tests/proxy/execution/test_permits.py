"""Permits: never more than there is room for, nobody waits for nothing, and every one comes back."""

from __future__ import annotations

import asyncio
from math import inf
from random import Random

import pytest
from msgspec import structs

from policies.concurrency import Explained, Mode
from policies.provider_limits import TargetRules
from policies.rate_limit import Rates
from policies.tiers import TIERS
from proxy.clock import SystemClock, loop_time
from proxy.errors import ProxyError
from proxy.execution.line import Claim, Queueing
from proxy.execution.permits import Permit, Permits
from proxy.tasks import Tasks
from proxy.types import Identity, Priority, Target, Usage
from tests.build import call, target
from tests.rates import permits as new_permits

A, B = target("p/a"), target("p/b")


def claim(tokens: int = 0, deadline: float = 10_000.0) -> Claim:
    return Claim(call(deadline=deadline), tokens)


def made(own: Rates | None = None, provider: Rates | None = None, queueing: Queueing | None = None) -> Permits:
    targets = {} if own is None else {"p/a": own}
    providers = {} if provider is None else {"p": provider}
    clock = SystemClock(seed=1, now=loop_time)
    return new_permits(clock, TargetRules(targets, providers), queueing or Queueing(wait_s=100))


def got(permit: Permit | ProxyError | None) -> Permit:
    assert isinstance(permit, Permit)
    return permit


async def test_nothing_is_counted_where_nothing_is_limited() -> None:
    permits = made()
    assert permits.claim(call()).tokens == 0
    for _ in range(1_000):
        got(permits.at_once(A, permits.claim(call())))
    assert permits.prefer((A, B), (), claim()) == (A, B)
    assert permits.held == 1_000


async def test_a_permit_comes_back_once() -> None:
    permits = made(Rates(concurrency=1))
    permit = got(permits.at_once(A, claim()))
    assert permits.at_once(A, claim()) is None
    permit.release(None)
    permit.release(None)
    assert permits.held == 0
    got(permits.at_once(A, claim()))
    assert permits.at_once(A, claim()) is None
    assert "held=False" in repr(permit)


async def test_those_that_wait_go_in_order_and_newcomers_stand_behind_them() -> None:
    permits, order = made(Rates(concurrency=1)), list[int]()

    async def ask(number: int) -> None:
        permit = got(await permits.acquire(A, claim()))
        order.append(number)
        await asyncio.sleep(1)
        permit.release(None)

    tasks = Tasks(lambda name, error: pytest.fail(f"{name}: {error}"))
    for number in range(5):
        tasks.start(f"{number}", ask(number))
        await asyncio.sleep(0)
    await asyncio.sleep(0.5)
    assert permits.waiting == 4
    await asyncio.sleep(10)
    assert order == [0, 1, 2, 3, 4]
    assert (permits.held, permits.waiting) == (0, 0)


async def test_a_rate_lets_calls_go_at_its_pace() -> None:
    permits, began = made(Rates(rpm=60)), loop_time()
    for _ in range(60):
        got(permits.at_once(A, claim())).release(None)
    gone = list[float]()

    async def ask() -> None:
        got(await permits.acquire(A, claim())).release(None)
        gone.append(round(loop_time() - began, 2))

    await asyncio.gather(*[ask() for _ in range(5)])
    assert gone == [1.0, 2.0, 3.0, 4.0, 5.0]


async def test_a_permit_of_one_target_makes_room_at_another_of_the_same_provider() -> None:
    permits = made(provider=Rates(concurrency=1))
    first = got(permits.at_once(A, claim()))

    async def ask() -> float:
        got(await permits.acquire(B, claim())).release(None)
        return loop_time()

    waiting = asyncio.gather(ask())
    await asyncio.sleep(3)
    freed_at = loop_time()
    first.release(None)
    assert await waiting == [freed_at]


@pytest.mark.parametrize(
    ("queueing", "deadline_in", "waits"),
    [(Queueing(wait_s=5), 100, 5), (Queueing(wait_s=50), 3, 3), (Queueing(wait_s=0), 100, 0), (Queueing(), -1, 0)],
)
async def test_waiting_ends_with_the_queue_or_the_deadline(
    queueing: Queueing, deadline_in: float, waits: float
) -> None:
    permits, began = made(Rates(concurrency=1), queueing=queueing), loop_time()
    permit = got(permits.at_once(A, claim()))
    error = await permits.acquire(A, claim(deadline=began + deadline_in))
    assert isinstance(error, ProxyError)
    assert (error.code, error.retry_after_s, loop_time() - began) == ("rate_limit_exceeded", 1.0, waits)
    permit.release(None)
    assert (permits.held, permits.waiting) == (0, 0)
    got(permits.at_once(A, claim()))


async def test_a_wait_that_is_known_to_be_too_long_is_not_begun() -> None:
    permits, began = made(Rates(rpm=1), queueing=Queueing(wait_s=59)), loop_time()
    got(permits.at_once(A, claim())).release(None)
    error = await permits.acquire(A, claim())
    assert isinstance(error, ProxyError)
    assert (error.retry_after_s, loop_time()) == (60.0, began)


async def test_too_many_may_not_wait() -> None:
    permits = made(Rates(concurrency=1), queueing=Queueing(wait_s=5, calls_max=1))
    got(permits.at_once(A, claim()))
    answers = await asyncio.gather(*[permits.acquire(A, claim()) for _ in range(3)])
    assert all(isinstance(answer, ProxyError) for answer in answers)
    assert permits.turned_away == 2


async def test_a_target_with_room_is_preferred_to_one_without() -> None:
    permits = made(Rates(rpm=1))
    got(permits.at_once(A, claim())).release(None)
    assert permits.prefer((A, B), (), claim()) == (B,)
    assert permits.prefer((A, B), (B,), claim()) == (B,), "a target that was tried is better than one without room"
    got(permits.at_once(B, claim())).refused(600.0)
    assert permits.prefer((A, B), (), claim()) == (A,), "the one that will have room first"


async def test_a_refusal_of_the_upstream_is_learned_and_ends() -> None:
    permits = made()
    permit = got(permits.at_once(A, claim()))
    permit.refused(7.0)
    permit.release(None)
    assert permits.ratio("p/a", "requests") == 0.0
    began = loop_time()
    got(await permits.acquire(A, claim())).release(None)
    assert loop_time() - began == pytest.approx(7.0)
    await asyncio.sleep(20)
    assert permits.ratio("p/a", "requests") == 1.0


async def test_a_reply_that_leaves_more_room_wakes_those_that_wait() -> None:
    permits = made()
    first, second = got(permits.at_once(A, claim())), got(permits.at_once(A, claim()))
    none_left = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-limit-requests": "60"}
    first.learn({**none_left, "x-ratelimit-reset-requests": "60s"})

    async def ask() -> float:
        await permits.acquire(A, claim())
        return loop_time()

    waiting = asyncio.gather(ask())
    await asyncio.sleep(0.2)
    told_at = loop_time()
    second.learn({"x-ratelimit-remaining-requests": "30", "x-ratelimit-limit-requests": "60"})
    assert await waiting == [told_at]


async def test_tokens_are_corrected_by_what_was_billed() -> None:
    permits = made(Rates(tpm=1_000))
    asked = permits.claim(call())
    assert asked.tokens > 1_000, "nothing is known of such answers yet"
    got(permits.at_once(A, asked)).release(Usage(input_uncached=100, output=100))
    assert permits.ratio("p/a", "tokens") == pytest.approx(0.8)
    assert permits.claim(call()).tokens == 201, "and now it is"


async def test_new_rules_let_those_go_that_fit_by_now() -> None:
    permits = made(Rates(concurrency=1))
    got(permits.at_once(A, claim()))
    waiting = asyncio.gather(*[permits.acquire(A, claim()) for _ in range(2)])
    await asyncio.sleep(1)
    permits.replace(TargetRules({"p/a": Rates(concurrency=2)}), Queueing())
    await asyncio.sleep(0)
    assert (permits.held, permits.waiting) == (2, 1)
    permits.replace(TargetRules(), Queueing())
    for permit in await waiting:
        got(permit).release(None)


async def test_a_call_that_is_cancelled_as_its_turn_comes_gives_its_permit_to_the_next() -> None:
    permits = made(Rates(concurrency=1))
    first, served = got(permits.at_once(A, claim())), list[str]()

    async def ask(name: str) -> None:
        got(await permits.acquire(A, claim())).release(None)
        served.append(name)

    tasks = Tasks(lambda name, error: pytest.fail(f"{name}: {error}"))
    unlucky, lucky = (tasks.start(name, ask(name)) for name in ("unlucky", "lucky"))
    await asyncio.sleep(0)
    first.release(None)  # the turn of the unlucky one
    unlucky.cancel()
    await asyncio.wait([unlucky, lucky])
    assert (served, permits.held, permits.waiting) == (["lucky"], 0, 0)


def of(agent: str, priority: Priority = "standard", tokens: int = 0) -> Claim:
    return Claim(structs.replace(call(deadline=10_000.0, identity=Identity("k", agent)), priority=priority), tokens)


async def order_of(permits: Permits, *claims: Claim) -> list[str]:
    """Who gets the one permit in which order, where all wait at once; those turned away come first."""
    first, order = got(permits.at_once(A, claim())), list[str]()

    async def ask(asked: Claim) -> None:
        permit = await permits.acquire(A, asked)
        order.append(f"{asked.call.identity.agent} {asked.call.priority}")
        if isinstance(permit, ProxyError):
            assert permit.code == "overloaded"
            order[-1] += " turned away"
        else:
            await asyncio.sleep(2)
            permit.release(None)

    waiting = asyncio.gather(*[ask(each) for each in claims])
    await asyncio.sleep(1)
    first.release(None)
    await waiting
    assert (permits.held, permits.waiting) == (0, 0)
    return order


async def test_agents_take_turns() -> None:
    order = await order_of(made(Rates(concurrency=1)), *[of(agent) for agent in ("a", "a", "a", "b", "b", "c")])
    assert [each[0] for each in order] == ["a", "b", "c", "a", "b", "a"]


async def test_a_higher_priority_goes_first() -> None:
    claims = [of(priority, priority) for priority in reversed(TIERS)]
    order = await order_of(made(Rates(concurrency=1)), *claims)
    assert [each.partition(" ")[0] for each in order] == ["critical", "interactive", "standard", "batch"]


async def test_a_full_line_turns_the_least_urgent_away_and_the_newest_of_the_agent_with_the_most() -> None:
    permits = made(Rates(concurrency=1), queueing=Queueing(wait_s=100, calls_max=4))
    claims = [of("a", "batch"), of("flood"), of("flood"), of("flood"), of("b"), of("c", "critical"), of("d", "batch")]
    order = await order_of(permits, *claims)
    assert sorted(order[:3]) == ["a batch turned away", "d batch turned away", "flood standard turned away"]
    assert order[3:] == ["c critical", "flood standard", "b standard", "flood standard"]
    assert permits.turned_away == 3


async def test_who_is_turned_away_is_told_when_those_that_wait_will_have_gone() -> None:
    permits = made(Rates(concurrency=2), queueing=Queueing(wait_s=500, calls_max=6))
    for _ in range(100):
        permit = got(permits.at_once(A, claim()))
        await asyncio.sleep(8)
        permit.release(None)
    running = [got(permits.at_once(A, claim())) for _ in range(2)]
    tasks = Tasks(lambda name, error: pytest.fail(f"{name}: {error}"))

    async def ask() -> None:
        await permits.acquire(A, claim())

    waiting = [tasks.start(f"{number}", ask()) for number in range(6)]
    await asyncio.sleep(0)
    error = await permits.acquire(A, claim())
    assert isinstance(error, ProxyError)
    assert (error.code, error.status) == ("overloaded", 503)
    assert error.retry_after_s == pytest.approx(8 * 6 / 2), "6 of 8 s each, two at a time"
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    for permit in running:
        permit.release(None)


async def test_a_critical_call_goes_before_others_at_other_targets_of_the_provider() -> None:
    permits = made(provider=Rates(concurrency=1))
    first, order = got(permits.at_once(A, claim())), list[str]()

    async def ask(target: Target, asked: Claim) -> None:
        permit = got(await permits.acquire(target, asked))
        order.append(asked.call.priority)
        await asyncio.sleep(1)
        permit.release(None)

    waiting = asyncio.gather(
        *[ask(A, of("a", "batch")) for _ in range(3)], *[ask(B, of("b", "critical")) for _ in range(3)]
    )
    await asyncio.sleep(0)
    first.release(None)
    await waiting
    assert order == ["critical"] * 3 + ["batch"] * 3


async def test_what_calls_really_took_decides_whose_turn_it_is() -> None:
    permits = made(Rates(concurrency=1))
    first, order = got(permits.at_once(A, claim())), list[str]()

    async def ask(agent: str) -> None:
        permit = got(await permits.acquire(A, of(agent, tokens=200)))
        order.append(agent)
        permit.release(Usage(input_uncached=100_000 if agent == "long" else 100, output=10))

    waiting = asyncio.gather(*[ask(agent) for agent in ("long", "long", *["short"] * 6)])
    await asyncio.sleep(0)
    first.release(None)
    await waiting
    assert order == ["long", *["short"] * 6, "long"]


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_is_cancelled_at_any_moment_nothing_is_lost(seed: int) -> None:
    rng = Random(seed)
    permits = made(Rates(rpm=600, concurrency=2), Rates(concurrency=3), Queueing(wait_s=30, calls_max=20))
    running = 0

    async def ask(number: int) -> None:
        nonlocal running
        await asyncio.sleep(rng.random() * 5)
        asked = of(rng.choice("ab"), rng.choice(("critical", "standard", "batch")), rng.randint(0, 5))
        permit = await permits.acquire(rng.choice((A, B)), asked)
        if isinstance(permit, ProxyError):
            return
        try:
            running += 1
            assert running <= 3
            await asyncio.sleep(rng.random() * rng.choice((0, 1)))
            if rng.random() < 0.1:
                permit.refused(rng.random())
        finally:
            running -= 1
            permit.release(None)

    tasks = Tasks(lambda name, error: pytest.fail(f"{name}: {error!r}"))
    started = [tasks.start(f"{number}", ask(number)) for number in range(60)]
    for _ in range(30):
        await asyncio.sleep(rng.random() / 3)
        rng.choice(started).cancel()
    await asyncio.wait(started)
    assert (permits.held, permits.waiting, permits.queues.providers) == (0, 0, ())
    assert all(line.idle for line in permits.lines._lines.values())
    await asyncio.sleep(1)  # the last refusal is over
    got(permits.at_once(A, claim()))


# --- what is learned of how many may run


def learning(mode: Mode) -> Permits:
    clock = SystemClock(seed=1, now=loop_time)
    return new_permits(clock, TargetRules(adaptive={"p": mode}), Queueing(wait_s=100))


async def test_a_target_that_was_not_limited_is_from_its_first_time_out_on() -> None:
    permits = learning("refusals")
    held = [got(permits.at_once(A, claim())) for _ in range(100)]
    assert permits.rooms.concurrency(A.id) == inf
    held[0].timed_out()
    assert permits.rooms.concurrency(A.id) == 70
    assert permits.at_once(A, claim()) is None
    assert permits.rooms.concurrency(B.id) == inf
    for permit in held:
        permit.release(None)
    got(permits.at_once(A, claim()))


async def test_an_engine_that_gets_slow_lets_fewer_in_and_those_that_wait_in_when_it_recovers() -> None:
    permits = learning("measured")
    held = [got(permits.at_once(A, claim())) for _ in range(10)]
    for _ in range(100):
        held[0].answered(4.0, Explained(1.0, 1.0))
    assert permits.rooms.concurrency(A.id) == 3
    for permit in held[1:9]:
        permit.release(None)
    tasks = Tasks(lambda name, error: pytest.fail(f"{name}: {error}"))

    async def ask() -> None:
        got(await permits.acquire(A, claim()))

    for number in range(20):
        tasks.start(f"{number}", ask())
    await asyncio.sleep(1)
    before = permits.held
    assert before == permits.rooms.concurrency(A.id)
    for _ in range(300):
        held[0].answered(0.5, Explained(1.0, 1.0))
    await asyncio.sleep(1)
    assert permits.held > before
    await tasks.close()


async def test_a_429_is_a_reason_too() -> None:
    permits = learning("refusals")
    permit = got(permits.at_once(A, claim()))
    permit.refused(1.0)
    assert permits.rooms.concurrency(A.id) == 11
    permit.release(None)
