"""Who waits for whose hold, in which order, and for how long."""

from __future__ import annotations

import asyncio

from policies.limits import Limit, LimitsByName
from proxy.clock import SystemClock, loop_time
from proxy.errors import ProxyError
from proxy.holds import Reservation
from proxy.money.budgets import Waiting
from proxy.types import Amounts
from tests.money import WatchedBudgets

RULES = LimitsByName({}, {"key": (Limit("usd", 100), Limit("tokens", 10**9)), "agent": (Limit("usd", 10),)})


def budgets(waiting: Waiting | None = None) -> WatchedBudgets:
    return WatchedBudgets(SystemClock(1, now=loop_time), RULES, waiting)


async def take(store: WatchedBudgets, id: str, usd_nanos: int, *path: str) -> Reservation | ProxyError:
    return await store.reserve(id, path or ("key:k",), lambda left: Amounts(usd_nanos, requests=1), ttl_s=60.0)


async def held(store: WatchedBudgets, id: str, usd_nanos: int, *path: str) -> Reservation:
    reserved = await take(store, id, usd_nanos, *path)
    assert isinstance(reserved, Reservation), reserved
    return reserved


async def test_a_call_waits_for_the_end_of_another_that_is_in_its_way() -> None:
    store = budgets()
    first = await held(store, "first", 80)
    second = asyncio.ensure_future(take(store, "second", 50))  # noqa: TID251
    await asyncio.sleep(1)
    assert (store.waiting, store.live) == (1, 1)
    store.post(first, Amounts(40))
    assert isinstance(await second, Reservation)
    assert (store.waiting, store.account("key:k").held_usd_nanos) == (0, 50)


async def test_whoever_waits_too_long_is_refused_and_has_taken_nothing() -> None:
    store = budgets()
    await held(store, "first", 80)
    began = loop_time()
    refused = await take(store, "second", 50)
    assert isinstance(refused, ProxyError)
    assert (refused.status, refused.retry_after_s, loop_time() - began) == (429, 1.0, 2.0)
    assert (store.live, store.waiting, store.account("key:k").held_usd_nanos) == (1, 0, 80)


async def test_nobody_waits_for_money_that_is_spent() -> None:
    store = budgets()
    store.post(await held(store, "first", 80), Amounts(80))
    began = loop_time()
    assert isinstance(await take(store, "second", 50), ProxyError)
    assert loop_time() == began


async def test_the_line_is_kept_even_by_those_that_would_fit() -> None:
    store = budgets()
    first = await held(store, "first", 80)
    order: list[str] = []

    async def wait(id: str, amount: int) -> None:
        await held(store, id, amount)
        order.append(id)

    async with asyncio.TaskGroup() as group:
        for id, amount in (("large", 90), ("small", 5), ("medium", 5)):
            group.create_task(wait(id, amount))
            await asyncio.sleep(0.01)
        store.post(first, Amounts(0))
    assert order == ["large", "small", "medium"]


async def test_an_account_that_is_full_holds_up_nobody_elses_calls() -> None:
    store = budgets()
    await held(store, "first", 10, "key:k", "agent:a")
    waiter = asyncio.ensure_future(take(store, "second", 5, "key:k", "agent:a"))  # noqa: TID251
    await asyncio.sleep(0.01)
    began = loop_time()
    await held(store, "third", 5, "key:k", "agent:b")
    assert loop_time() == began
    assert isinstance(await waiter, ProxyError)


async def test_a_call_cancelled_while_it_waits_leaves_no_hold_and_no_gap_in_the_line() -> None:
    store = budgets()
    first = await held(store, "first", 80)
    second = asyncio.ensure_future(take(store, "second", 90))  # noqa: TID251
    third = asyncio.ensure_future(take(store, "third", 90))  # noqa: TID251
    await asyncio.sleep(0.01)
    store.post(first, Amounts(0))
    second.cancel()  # its turn has come, and it never hears of it
    assert isinstance(await third, Reservation)
    assert (store.live, store.waiting) == (1, 0)


async def test_the_next_goes_on_when_the_one_in_front_of_it_gives_up() -> None:
    store = budgets()
    await held(store, "first", 50)
    began = loop_time()
    large = asyncio.ensure_future(take(store, "large", 60))  # noqa: TID251
    await asyncio.sleep(1)
    small = asyncio.ensure_future(take(store, "small", 5))  # noqa: TID251
    assert isinstance(await small, Reservation)
    assert loop_time() - began == 2.0  # when the large one's time was over
    assert isinstance(await large, ProxyError)
    another = asyncio.ensure_future(take(store, "another", 60))  # noqa: TID251
    await asyncio.sleep(1)
    small = asyncio.ensure_future(take(store, "smaller", 5))  # noqa: TID251
    await asyncio.sleep(0)
    another.cancel()  # its client has left
    before = loop_time()
    assert isinstance(await small, Reservation)
    assert loop_time() == before


async def test_who_moves_to_another_line_makes_room_in_the_first() -> None:
    store = budgets()
    first = await held(store, "first", 10, "key:k", "agent:a")
    await held(store, "other", 100, "key:full")
    moving = asyncio.ensure_future(take(store, "moving", 5, "agent:a", "key:full"))  # noqa: TID251
    await asyncio.sleep(0)
    next_one = asyncio.ensure_future(take(store, "next", 5, "agent:a", "key:k"))  # noqa: TID251
    await asyncio.sleep(0.5)
    before = loop_time()
    store.void(first)
    assert isinstance(await next_one, Reservation)
    assert loop_time() == before
    assert isinstance(await moving, ProxyError)
    assert store.waiting == 0


async def test_only_so_many_may_wait() -> None:
    store = budgets(Waiting(wait_s=2.0, calls_max=0))
    await held(store, "first", 80)
    began = loop_time()
    assert isinstance(await take(store, "second", 50), ProxyError)
    assert loop_time() == began


async def test_a_repeat_of_an_id_is_the_same_hold() -> None:
    store = budgets()
    first = await held(store, "first", 80)
    assert await take(store, "first", 80) == first
    assert store.live == 1


async def test_a_hundred_calls_at_once_never_hold_more_than_there_is() -> None:
    store = budgets()
    spent = 0

    async def one(number: int) -> None:
        nonlocal spent
        reserved = await take(store, f"c{number}", 1 + number % 7)
        if isinstance(reserved, ProxyError):
            return
        sums = store.account("key:k")
        assert sums.held_usd_nanos + sums.posted_usd_nanos <= 100
        await asyncio.sleep(0.1 + number % 3)
        used = reserved.amounts.usd_nanos - number % 2
        spent += used
        store.post(reserved, Amounts(used))

    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(one(number))
    sums = store.account("key:k")
    assert (sums.posted_usd_nanos, sums.held_usd_nanos, store.live) == (spent, 0, 0)
    assert 90 <= spent <= 100
