"""The accounts as a worker sees them: leases pay without a word, the owner is asked for the rest, nothing is double."""

from __future__ import annotations

import asyncio

from policies.accounts import Accounts
from policies.leases import Hold, Leases, Wanted
from policies.limits import Limit, LimitsByName
from proxy.clock import SystemClock, loop_time
from proxy.errors import ProxyError
from proxy.holds import Left, Reservation
from proxy.money.budgets import Budgets, Waiting
from proxy.money.lease_messages import Asking, Feeling, Felt, Granted, Refused, Withdrawn
from proxy.money.leases import LeasedStore
from proxy.state.store import Ask
from proxy.tasks import Tasks
from proxy.types import Amounts
from proxy.workers.lender import Bank, Lender
from proxy.workers.messages import Renewed
from tests.money import News

PATH = ("key:k", "agent:a")
WIRE_S = 0.001


class Wire:
    """Owner and workers with a delay between them."""

    def __init__(self, rules: LimitsByName, *, workers: int = 1, wait_s: float = 2.0) -> None:
        self.clock = SystemClock(1, now=loop_time)
        self.errors: list[BaseException] = []
        self.tasks = Tasks(lambda name, error: self.errors.append(error))
        self.news = News()
        self.budgets = Budgets(Accounts(rules), self.clock, self.news, Waiting(wait_s))
        bank = Bank(self.budgets, self.clock, self.tasks, self.news, workers)
        self.lines = [Line(self, bank, rules) for _ in range(workers)]
        self.budgets.recall = self._recall
        self.questions = 0

    def _recall(self, path: tuple[str, ...]) -> None:
        for line in self.lines:
            numbers = line.lender.lending.numbers(frozenset(path))
            asyncio.get_running_loop().call_later(WIRE_S, line.store.recalled, numbers)

    def held(self, account: str = "agent:a") -> int:
        return self.budgets.standing(account)[0].held

    def spent(self, account: str = "agent:a") -> int:
        return self.budgets.standing(account)[0].totals.spent


class Line:
    def __init__(self, wire: Wire, bank: Bank, rules: LimitsByName) -> None:
        self.wire = wire
        self.noted: list[Hold] = []
        self.marks: list[tuple[str, Amounts]] = []
        self.lender = Lender(bank, self._down)
        self.store = LeasedStore(wire.clock, rules, self, self)
        self.store.heard(wire.clock.now())

    def held(self, hold: Hold) -> bool:
        self.noted.append(hold)
        return True

    def marked(self, id: str, reached: Amounts) -> None:
        self.marks.append((id, reached))

    def _down(self, message: object) -> None:
        later = asyncio.get_running_loop().call_later
        if isinstance(message, Granted):
            later(WIRE_S, self.store.granted, message)
        elif isinstance(message, Refused):
            later(WIRE_S, self.store.refused, message)
        elif isinstance(message, Felt):
            later(WIRE_S, self.store.felt, message)
        elif isinstance(message, Renewed):
            later(WIRE_S, self.store.renewed, message.lent)

    def ask(self, asking: Asking) -> None:
        self.wire.questions += 1
        asyncio.get_running_loop().call_later(WIRE_S, self.lender.ask, asking)

    def feel(self, feeling: Feeling) -> None:
        asyncio.get_running_loop().call_later(WIRE_S, self.lender.feel, feeling)

    def withdraw(self, request: int) -> None:
        asyncio.get_running_loop().call_later(WIRE_S, self.lender.withdraw, Withdrawn(request).request)

    def give_back(self, leases: Leases) -> None:
        returned = tuple(leases.returns)
        leases.returns.clear()
        asyncio.get_running_loop().call_later(WIRE_S, self.lender.give_back, returned)

    def renew(self, wanted: tuple[Wanted, ...]) -> None:
        asyncio.get_running_loop().call_later(WIRE_S, self.lender.renew, wanted)

    async def call(self, id: str, used: int, ask: Ask, lasts_s: float = 0.1) -> bool:
        held = await self.store.reserve(id, PATH, ask, ttl_s=60)
        if isinstance(held, ProxyError):
            return False
        await asyncio.sleep(lasts_s)
        self.store.post(held, Amounts(used))
        asyncio.get_running_loop().call_later(WIRE_S, self.lender.settle, self.store.leases.settle(id))
        return True


def fixed(amount: int) -> Ask:
    def ask(left: Left) -> Amounts:
        return Amounts(amount, 10, requests=1, steps=1, concurrency=1)

    return ask


def fitting(most: int, least: int) -> Ask:
    def ask(left: Left) -> Amounts:
        usd = most if left.usd_nanos is None else max(least, min(most, left.usd_nanos))
        return Amounts(usd, 10, requests=1, steps=1, concurrency=1)

    return ask


def rules(*limits: Limit) -> LimitsByName:
    return LimitsByName({"agent:a": limits})


async def test_a_path_without_limits_asks_nobody() -> None:
    wire = Wire(LimitsByName())
    assert isinstance(await wire.lines[0].store.reserve("c", PATH, fixed(5), ttl_s=60), Reservation)
    assert (wire.questions, wire.lines[0].noted) == (0, [])


async def test_after_the_first_call_leases_pay_without_a_question() -> None:
    wire = Wire(rules(Limit("usd", 10**9)))
    for number in range(200):
        assert await wire.lines[0].call(str(number), 40, fixed(100), lasts_s=0.0)
    assert wire.questions <= 8  # they double
    await asyncio.sleep(0.1)
    assert wire.spent() == 200 * 40
    assert len(wire.lines[0].noted) == 200


async def test_marks_are_passed_on_while_the_call_is_held() -> None:
    wire = Wire(rules(Limit("usd", 10**9)))
    store = wire.lines[0].store
    reserved = await store.reserve("c", PATH, fixed(100), ttl_s=60)
    assert isinstance(reserved, Reservation)
    store.mark(reserved, Amounts(40))
    store.post(reserved, Amounts(40))
    store.mark(reserved, Amounts(50))
    assert wire.lines[0].marks == [("c", Amounts(40))]


async def test_what_is_lent_and_idle_goes_back() -> None:
    wire = Wire(rules(Limit("usd", 10**9)))
    await wire.lines[0].call("c", 40, fixed(100))
    assert wire.held() > 0
    for _ in range(4):
        wire.lines[0].store.look(0.5)
        await asyncio.sleep(0.5)
    assert (wire.held(), wire.spent()) == (0, 40)


async def test_many_calls_in_many_workers_never_spend_more_than_there_is() -> None:
    wire = Wire(rules(Limit("usd", 10_000)), workers=4)
    calls = [wire.lines[number % 4].call(str(number), 70, fixed(100)) for number in range(400)]
    served = sum(await asyncio.gather(*calls))
    await asyncio.sleep(3)
    assert wire.spent() == served * 70
    assert 9_000 < wire.spent() <= 10_000
    assert [charge.overrun for charge in wire.news.charges if charge.overrun] == []
    assert wire.held() == 0
    assert wire.errors == []


async def test_a_call_is_clamped_to_what_the_owner_has_left() -> None:
    wire = Wire(rules(Limit("usd", 1_000)))
    store = wire.lines[0].store
    held = await store.reserve("c", PATH, fitting(5_000, 100), ttl_s=60)
    assert isinstance(held, Reservation)
    assert held.amounts.usd_nanos == 1_000
    refused = await store.reserve("d", PATH, fitting(5_000, 100), ttl_s=60)
    assert isinstance(refused, ProxyError)
    assert refused.code == "budget_exceeded"
    assert refused.details["limits"]


async def test_a_call_waits_for_what_another_worker_holds_idle() -> None:
    wire = Wire(rules(Limit("usd", 10_000)), workers=2)
    await wire.lines[0].call("c", 100, fixed(1_000))
    assert wire.held() > 0
    assert await wire.lines[1].call("d", 9_000, fixed(9_900))


async def test_whoever_stops_waiting_holds_nothing() -> None:
    wire = Wire(rules(Limit("usd", 1_000)))
    store = wire.lines[0].store
    first = await store.reserve("c", PATH, fixed(900), ttl_s=60)
    assert isinstance(first, Reservation)
    waiting = wire.tasks.start("waits", wire.lines[0].call("d", 1, fixed(900)))  # type: ignore[arg-type]
    await asyncio.sleep(0.5)
    waiting.cancel()
    await asyncio.sleep(0.5)
    assert wire.budgets.waiting == 0
    store.void(first)
    await asyncio.sleep(0.1)
    assert (wire.held(), store.live) == (0, 0)


async def test_a_hold_grows_out_of_the_lease_or_with_the_owners_money() -> None:
    wire = Wire(rules(Limit("usd", 10_000)))
    store = wire.lines[0].store
    held = await store.reserve("c", PATH, fixed(100), ttl_s=60)
    assert isinstance(held, Reservation)
    for total in (150, 5_000):
        held = await store.extend(held, Amounts(total, 10, 1, 1, 1))
        assert isinstance(held, Reservation)
        assert held.amounts.usd_nanos == total
    refused = await store.extend(held, Amounts(20_000, 10, 1, 1, 1))
    assert isinstance(refused, ProxyError)
    assert len(wire.lines[0].noted) == 3


async def test_without_a_word_from_the_owner_leases_end() -> None:
    wire = Wire(rules(Limit("usd", 10**9)))
    await wire.lines[0].call("c", 1, fixed(100))
    before = wire.questions
    await asyncio.sleep(11)
    await wire.lines[0].call("d", 1, fixed(100))
    assert wire.questions == before + 1


async def test_when_the_owner_is_gone_nothing_new_is_held_and_what_is_held_may_end() -> None:
    wire = Wire(rules(Limit("usd", 10**9)))
    store = wire.lines[0].store
    held = await store.reserve("c", PATH, fixed(100), ttl_s=60)
    assert isinstance(held, Reservation)
    store.close(ProxyError("shutting_down", "The gate is stopping."))
    refused = await store.reserve("d", PATH, fixed(100), ttl_s=60)
    assert isinstance(refused, ProxyError)
    assert refused.code == "shutting_down"
    assert [charge.amount for charge in store.post(held, Amounts(30))] == [30]


async def test_an_owner_that_does_not_answer_is_waited_for_no_longer_than_needed() -> None:
    wire = Wire(rules(Limit("usd", 1_000)))
    line = wire.lines[0]
    line.ask = lambda asking: None  # type: ignore[method-assign]
    before = wire.clock.now()
    refused = await line.store.reserve("c", PATH, fixed(600), ttl_s=60)
    assert isinstance(refused, ProxyError)
    assert (refused.code, wire.clock.now() - before) == ("ledger_unavailable", 10.0)


async def test_a_repeat_of_an_id_is_the_same_hold() -> None:
    wire = Wire(rules(Limit("usd", 1_000)))
    store = wire.lines[0].store
    one = await store.reserve("c", PATH, fixed(600), ttl_s=60)
    other = await store.reserve("c", PATH, fixed(600), ttl_s=60)
    assert isinstance(one, Reservation)
    assert isinstance(other, Reservation)
    assert len(wire.lines[0].noted) == 1


async def test_a_worker_feels_a_budget_tighten_and_ease_without_a_hold() -> None:
    """A call on the rung `queue` takes nothing until the pressure has gone: it must hear of that nevertheless."""
    wire = Wire(rules(Limit("usd", 1_000)), workers=2)
    one, other = wire.lines
    assert await one.call("first", 10, fixed(10))
    assert await other.call("most", 940, fixed(940))
    assert await felt(one) >= 950
    assert wire.budgets.top_up("more", "agent:a", unit="usd", amount=9_000)
    assert await felt(one) < 200


async def felt(line: Line) -> int:
    await asyncio.sleep(1)
    line.store.pressure(PATH)  # what is known by now is old, so it is asked for
    await asyncio.sleep(3 * WIRE_S)
    return line.store.pressure(PATH).felt


async def test_a_soft_limit_that_a_reload_makes_hard_is_held_in_full() -> None:
    def usual(left: Left) -> Amounts:
        return Amounts(100, 10, requests=1, steps=1, concurrency=1, soft_usd_nanos=10)

    soft, hard = (rules(Limit("usd", 1_000, soft=each)) for each in (True, False))
    wire = Wire(soft)
    (line,) = wire.lines
    assert await line.call("first", 5, usual)
    wire.budgets.accounts.replace(hard)
    line.store.replace(hard)
    await line.store.reserve("second", PATH, usual, ttl_s=60)
    (held,) = line.store.leases.live.values()
    assert held.amounts == (100,)
