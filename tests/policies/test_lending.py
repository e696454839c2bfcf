"""How much is lent: much where there is much, call by call near the end, and never more than there is."""

from __future__ import annotations

import pytest

from policies.accounts import Accounts
from policies.leases import CLOSED, Wanted
from policies.lending import Lending, ahead
from policies.limits import Instant, Limit, LimitsByName
from policies.meter import Balance
from proxy.types import Amounts, Period, Unit

AT = Instant(0.0, 0.0)


def balance(limit: int, used: int = 0, unit: Unit = "usd") -> Balance:
    found = Balance(Period("a", unit, "total", 0, "a"), Limit(unit, limit), resets_wall=1e12, tolerance=0)
    found.post(0, used)
    return found


@pytest.mark.parametrize(
    ("limit", "used", "typical", "wish", "lent"),
    [
        (1_000_000, 0, 100, 5_000, 5_000),
        (1_000_000, 0, 100, 10**9, 125_000),  # the eighth part
        (1_000_000, 900_000, 100, 10**9, 25_000),  # 100,000 left, over 2 x 2 slots
        (1_000_000, 985_000, 100, 5_000, 0),  # the last fiftieth
        (1_000_000, 0, 300_000, 5_000, 0),  # holds that are large against what is left
    ],
)
def test_what_is_lent_ahead(limit: int, used: int, typical: int, wish: int, lent: int) -> None:
    assert ahead(balance(limit, used), Wanted(1, typical, wish), slots=2) == lent


@pytest.mark.parametrize(("limit", "lent"), [(7, 0), (80, 4)])
def test_a_low_limit_on_concurrency_is_the_owners(limit: int, lent: int) -> None:
    assert ahead(balance(limit, unit="concurrency"), Wanted(1, 1, 4), slots=2) == lent


def test_a_blocked_account_lends_nothing() -> None:
    blocked = balance(1_000_000, 500_000)
    blocked.overrun = 1
    assert ahead(blocked, Wanted(1, 1, 1_000), slots=2) == 0


def lending(limit: int) -> tuple[Accounts, Lending]:
    accounts = Accounts(LimitsByName({"a": (Limit("usd", limit),)}))
    return accounts, Lending(accounts, slots=2)


def lend(accounts: Accounts, to: Lending, amount: int, id: str = "c") -> int:
    accounts.reserve(id, ("a",), ask=lambda left: Amounts(amount), at=AT, ttl_s=60)
    (terms,) = to.lend(id, {})
    return terms.amount


def test_what_is_lent_counts_as_held_until_it_returns() -> None:
    accounts, slot = lending(1_000)
    lent = lend(accounts, slot, 10)
    assert lent == 30
    (standing,) = accounts.state("a", at=AT)
    assert (standing.held, standing.totals.spent, accounts.live) == (30, 0, 0)
    assert slot.take_back([(1, 20)]) == ("a",)
    slot.settle([(1, 4)])
    (standing,) = accounts.state("a", at=AT)
    assert (standing.held, standing.totals.spent) == (6, 4)
    slot.take_back([(1, 6), (1, CLOSED)])
    assert slot.numbers(frozenset(["a"])) == ()


def test_cost_beyond_the_lease_takes_what_is_free_and_the_rest_is_overrun() -> None:
    accounts, slot = lending(100)
    lend(accounts, slot, 90)
    posting = slot.settle([(1, 130)])
    assert [(charge.amount, charge.overrun) for charge in posting.charges] == [(130, 30)]
    (standing,) = accounts.state("a", at=AT)
    assert (standing.held, standing.totals.spent, standing.totals.overrun) == (0, 100, 30)


def test_an_account_that_is_lent_is_not_forgotten_and_a_closed_slot_holds_nothing() -> None:
    accounts, slot = lending(1_000)
    lend(accounts, slot, 10)
    (lent,) = slot._by_number.values()
    assert lent.account.holds == 1
    assert slot.close() == ("a",)
    assert lent.account.holds == 0
    (standing,) = accounts.state("a", at=AT)
    assert standing.held == 0


def test_more_is_lent_on_a_lease_that_is_running_low() -> None:
    accounts, slot = lending(100_000)
    lend(accounts, slot, 10)
    (terms,) = slot.renew([Wanted(1, 10, 400), Wanted(99, 1, 1)], wall=0.0)
    assert (terms.number, terms.amount, terms.exact) == (1, 400, False)
