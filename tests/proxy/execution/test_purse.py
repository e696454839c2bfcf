"""One reservation a call, whatever its attempts do."""

from __future__ import annotations

from policies.limits import Limit, LimitsByName
from proxy.clock import SystemClock, loop_time
from proxy.errors import ProxyError
from proxy.execution.purse import Purse, SidePurse
from proxy.holds import Left, Reservation
from proxy.state.store import Ask
from proxy.types import Amounts
from tests.money import WatchedBudgets

PATH = ("key:k",)


def limited(usd_nanos: int) -> WatchedBudgets:
    limits = (Limit("usd", usd_nanos), Limit("tokens", 10**9), Limit("requests", 9), Limit("concurrency", 1))
    return WatchedBudgets(SystemClock(1, now=loop_time), LimitsByName({"key:k": limits}))


def purse(store: WatchedBudgets) -> Purse:
    return Purse(store, "call", PATH, 60.0)


def part(usd_nanos: int, tokens: int = 10) -> Amounts:
    return Amounts(usd_nanos, tokens, requests=1, steps=1, concurrency=1)


def asking(usd_nanos: int) -> Ask:
    return lambda left: part(usd_nanos)


async def taken(purse: Purse, usd_nanos: int) -> Amounts:
    found = await purse.take(asking(usd_nanos))
    assert isinstance(found, Amounts), found
    return found


def counted(store: WatchedBudgets, unit: str) -> tuple[int, int]:
    """Spent and held."""
    (found,) = [standing for standing in store.standing("key:k") if standing.period.unit == unit]
    return found.totals.spent, found.held


async def test_a_retry_uses_what_its_predecessor_gave_back() -> None:
    store = limited(100)
    one = purse(store)
    one.give_back(await taken(one, 80), Amounts(), sent=True)
    second = await taken(one, 90)
    assert store.account("key:k").held_usd_nanos == 90
    one.give_back(second, Amounts(70, 5), sent=True)
    one.close()
    assert [counted(store, unit) for unit in ("usd", "requests", "concurrency")] == [(70, 0), (1, 0), (0, 0)]
    assert [(charge.period.unit, charge.amount) for charge in one.charges] == [
        ("usd", 70),
        ("tokens", 5),
        ("requests", 1),
    ]


async def test_what_an_attempt_spent_is_not_free_for_the_next_one() -> None:
    store = limited(100)
    one = purse(store)
    one.give_back(await taken(one, 60), Amounts(50, 5), sent=True)
    assert isinstance(await one.take(asking(60)), ProxyError)
    one.close()
    assert counted(store, "usd") == (50, 0)


async def test_attempts_that_run_side_by_side_hold_the_sum() -> None:
    store = limited(100)
    one = purse(store)
    await taken(one, 60)
    assert isinstance(await one.take(asking(60)), ProxyError)
    assert await one.take(asking(40)) == part(40)
    assert counted(store, "usd") == (0, 100)
    assert counted(store, "concurrency") == (0, 1)


async def test_a_call_that_sent_nothing_is_not_counted() -> None:
    store = limited(100)
    one = purse(store)
    one.give_back(await taken(one, 60), Amounts(), sent=False)
    one.close()
    assert (counted(store, "usd"), counted(store, "requests"), one.charges) == ((0, 0), (0, 0), ())


async def test_the_second_close_does_nothing() -> None:
    store = limited(100)
    one = purse(store)
    one.give_back(await taken(one, 60), Amounts(30), sent=True)
    one.close()
    one.close()
    assert counted(store, "usd") == (30, 0)


async def test_a_later_attempt_may_use_all_that_is_left_and_its_own_leftovers() -> None:
    store = limited(100)
    one = purse(store)
    one.give_back(await taken(one, 80), Amounts(10), sent=True)
    told: list[int | None] = []

    def ask(left: Left) -> Amounts:
        told.append(left.usd_nanos)
        return part(90)

    assert await one.take(ask) == part(90)
    assert told == [90]


async def test_a_part_can_grow_while_it_runs() -> None:
    store = limited(100)
    one = purse(store)
    first = await taken(one, 50)
    assert await one.enlarge(first, part(100)) is None
    assert isinstance(await one.enlarge(part(100), part(101)), ProxyError)
    assert counted(store, "usd") == (0, 100)


class Marking(WatchedBudgets):
    """Notes marks."""

    def __init__(self) -> None:
        limits = (Limit("usd", 10**9), Limit("tokens", 10**9))
        super().__init__(SystemClock(1, now=loop_time), LimitsByName({"key:k": limits}))
        self.marks: list[tuple[int, int]] = []

    def mark(self, reservation: Reservation, reached: Amounts) -> None:
        self.marks.append((reached.usd_nanos, reached.tokens))


async def test_a_mark_is_of_the_whole_call() -> None:
    store = Marking()
    one = purse(store)
    first = await taken(one, 80)
    one.mark(first, part(30, 3))
    assert store.marks.pop() == (30, 3)
    second = await taken(one, 90)
    assert store.marks.pop() == (80 + 90, 20), "whoever begins to hold more is not known to have used less"
    one.mark(second, part(40, 4))
    assert store.marks.pop() == (80 + 40, 14)
    one.give_back(first, Amounts(70, 7), sent=True)
    one.mark(second, part(50, 5))
    assert store.marks.pop() == (70 + 50, 12)


async def test_what_the_gate_asks_itself_is_paid_for_and_not_counted() -> None:
    store = limited(100)
    own = SidePurse(store, "s", PATH, 60.0)
    taken = await own.take(asking(40))
    assert isinstance(taken, Amounts)
    own.give_back(taken, part(30), sent=True)
    own.close()
    assert store.left(PATH).usd_nanos == 70
    assert counted(store, "requests") == (0, 0)
