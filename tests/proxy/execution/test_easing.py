"""Who waits for a budget to ease, in which order, how long, and how many."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import structs

from policies.accounts import CALM
from policies.ladder import Ladder
from policies.limits import Limit, LimitsByName, Refusal
from proxy.clock import SystemClock, loop_time
from proxy.errors import ProxyError
from proxy.execution.easing import Easing
from proxy.execution.purse import Purse
from proxy.execution.record import Record
from proxy.pressure import Pressure
from proxy.types import Amounts, Period, Priority
from tests import build
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
        record = self.record(id, lasts_s=lasts_s)
        pressure = await self.easing.pressure(record, ladder, most=most)
        await record.purse.take(lambda left: Amounts(10))
        return pressure

    def record(self, id: str, *, lasts_s: float = 60.0, priority: Priority = "standard") -> Record:
        asked = structs.replace(build.call(id), deadline=loop_time() + lasts_s, priority=priority)
        return Record(asked, Purse(self.store, id, ("key:k",), 60.0))


async def test_a_calm_budget_keeps_nobody() -> None:
    desk = Desk()
    began = loop_time()
    assert (await desk.ask("a")).felt == 0
    assert (await desk.ask("b")) is CALM
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
    pressure = await desk.easing.pressure(desk.record("y"), ("cheaper", "stop"), most=10)
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


async def test_what_is_not_known_is_refused_at_once_where_only_known_answers_may_be_had() -> None:
    desk = Desk()
    await desk.store.reserve("x", ("key:k",), lambda left: Amounts(90), ttl_s=60.0)
    began = loop_time()
    with pytest.raises(ProxyError, match="no answer that is known already") as refused:
        await desk.ask("a", ladder=("cache_only", "queue"))
    assert (refused.value.code, loop_time()) == ("budget_exceeded", began)
    assert [each.shortfalls[0].reason for each in desk.denied] == ["cache_only"]
    assert (await desk.easing.pressure(desk.record("b"), QUEUE, most=10)).felt == 900


class Hurried(Desk):
    """Its budget is spent far ahead of the calendar until `at`."""

    def __init__(self, at: float, felt: int = 500) -> None:
        super().__init__()
        self.at = loop_time() + at
        self.felt = felt

    async def let(self, id: str, priority: Priority, *, ladder: Ladder = QUEUE, most: int = 10) -> Record:
        record = self.record(id, priority=priority)
        record.purse = Paced(self, record.purse)
        record.pressure = await self.easing.pressure(record, ladder, most=most)
        return record


class Paced(Purse):
    def __init__(self, desk: Hurried, purse: Purse) -> None:
        super().__init__(desk.store, "p", ("key:k",), 60.0)
        self._desk = desk

    def pressure(self) -> Pressure:
        pace = 10 if loop_time() < self._desk.at else 9
        return Pressure(self._desk.felt, pace, 100, 50, 0, period=Period("key:k", "usd", "day", 1, "key:k"))


async def test_batch_work_is_held_back_while_spending_runs_ahead_and_everything_else_goes_on() -> None:
    desk, began = Hurried(20), loop_time()
    for priority in ("standard", "interactive", "critical"):
        assert not (await desk.let("a", priority)).decisions
    assert loop_time() == began
    record = await desk.let("b", "batch")
    assert 20 <= loop_time() - began < 21
    assert record.pressure is not None
    assert record.pressure.pace == 9
    (decision,) = record.decisions
    assert decision.said.startswith("held back for 20")
    assert desk.easing.waiting == 0


async def test_batch_work_keeps_half_of_its_time_and_is_refused_nothing() -> None:
    desk, began = Hurried(1_000), loop_time()
    record = await desk.let("a", "batch")
    assert loop_time() - began == pytest.approx(30.0)
    assert record.pressure is not None
    assert not desk.denied


async def test_batch_work_that_finds_the_line_full_goes_on() -> None:
    desk, began = Hurried(1_000), loop_time()
    await desk.let("a", "batch", most=0)
    assert loop_time() == began


async def test_where_a_rung_has_a_stronger_word_the_pace_holds_nobody_back() -> None:
    desk, began = Hurried(1_000, felt=920), loop_time()
    with pytest.raises(ProxyError, match="known already"):
        await desk.let("a", "batch", ladder=("cache_only",))
    assert loop_time() == began
