"""Who waits for a budget to ease, in which order, how long, and how many."""

from __future__ import annotations

import asyncio

import pytest

from policies.ladder import Ladder
from policies.limits import Limit, LimitsByName, Refusal
from proxy.clock import SystemClock, loop_time
from proxy.errors import ProxyError
from proxy.execution.easing import Easing
from proxy.execution.purse import Purse
from proxy.pressure import Pressure
from proxy.types import Amounts
from tests.money import WatchedBudgets

RULES = LimitsByName({}, {"key": (Limit("usd", 100),)})
QUEUE: Ladder = ("queue",)


class Desk:
    def __init__(self) -> None:
        self.clock = SystemClock(1, now=loop_time)
        self.store = WatchedBudgets(self.clock, RULES)
        self.denied: list[Refusal] = []
        self.easing = Easing(self.clock, self.denied.append)

    async def ask(self, id: str, *, lasts_s: float = 60.0, ladder: Ladder = QUEUE, most: int = 10) -> Pressure:
        """And takes 10 at once, as a call would."""
        purse = Purse(self.store, id, ("key:k",), 60.0)
        deadline = loop_time() + lasts_s
        pressure = await self.easing.pressure(purse, ladder, deadline=deadline, waiting_max=most)
        await purse.take(lambda left: Amounts(10))
        return pressure


async def test_a_calm_budget_keeps_nobody() -> None:
    desk = Desk()
    began = loop_time()
    assert (await desk.ask("a")).felt == 0
    assert (await desk.ask("b")).felt == 100
    assert loop_time() == began


async def test_calls_wait_in_order_until_the_pressure_falls() -> None:
    desk = Desk()
    full = await desk.store.reserve("x", ("key:k",), lambda left: Amounts(95), ttl_s=60.0)
    assert not isinstance(full, ProxyError)
    passed: list[str] = []

    async def call(id: str) -> None:
        await desk.ask(id)
        passed.append(id)

    calls = [asyncio.ensure_future(call(id)) for id in "abc"]  # noqa: TID251
    await asyncio.sleep(10)
    assert (desk.easing.waiting, passed) == (3, [])
    desk.store.void(full)
    await asyncio.gather(*calls)
    assert (desk.easing.waiting, passed) == (0, ["a", "b", "c"])
    assert repr(desk.easing) == "Easing(0 waiting for [])"


async def test_a_ladder_without_the_rung_waits_for_nothing() -> None:
    desk = Desk()
    await desk.store.reserve("x", ("key:k",), lambda left: Amounts(99), ttl_s=60.0)
    began = loop_time()
    purse = Purse(desk.store, "y", ("key:k",), 60.0)
    pressure = await desk.easing.pressure(purse, ("cheaper", "stop"), deadline=began + 60, waiting_max=10)
    assert (pressure.felt, loop_time()) == (990, began)


async def test_a_wait_in_vain_ends_just_before_the_deadline_and_is_told() -> None:
    desk = Desk()
    await desk.store.reserve("x", ("key:k",), lambda left: Amounts(95), ttl_s=60.0)
    began = loop_time()
    with pytest.raises(ProxyError) as refused:
        await desk.ask("a", lasts_s=7.0)
    assert (refused.value.code, loop_time() - began) == ("budget_exceeded", pytest.approx(6.9))
    assert [each.shortfalls[0].reason for each in desk.denied] == ["queue"]
    assert desk.easing.waiting == 0


async def test_the_line_is_bounded() -> None:
    desk = Desk()
    await desk.store.reserve("x", ("key:k",), lambda left: Amounts(95), ttl_s=60.0)
    first = asyncio.ensure_future(desk.ask("a", most=1))  # noqa: TID251
    await asyncio.sleep(1)
    began = loop_time()
    with pytest.raises(ProxyError, match="in vain"):
        await desk.ask("b", most=1)
    assert loop_time() == began
    first.cancel()
    await asyncio.wait([first])
    assert (first.cancelled(), desk.easing.waiting) == (True, 0)
