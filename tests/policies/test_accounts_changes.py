"""Limits that change, money that is added, what the ledger knows, and what is asked."""

from __future__ import annotations

import pytest

from policies.accounts import Accounts, Hold
from policies.limits import Limit, Totals
from policies.roster import KEPT_LEAST, Bounds
from proxy.types import Amounts, Period
from tests.policies.rulebook import DAY, LIMITS, PATH, Rules, accounts, at, figures, refusing, reserve, usd

# --- limits that change ----------------------------------------------------------------------------------------------


def test_a_limit_lowered_below_what_is_spent_refuses_from_then_on() -> None:
    found = accounts()
    reserve(found, "c/1", usd(60))
    reserve(found, "c/2", usd(20))
    found.post("c/1", Amounts(usd_nanos=60))
    found.replace(Rules({**LIMITS, "agent": (Limit("usd", 50, "run"),)}))
    assert refusing(reserve(found, "c/3", usd(1))) == [("run:r", "usd", "lowered")]
    found.post("c/2", Amounts(usd_nanos=20))
    assert figures(found, "run:r") == [(80, 0, 0)], "a hold taken before pays its call"
    found.replace(Rules(LIMITS))
    assert isinstance(reserve(found, "c/3", usd(20)), Hold)


def test_a_limit_that_turns_soft_ends_its_holds_as_they_were_taken() -> None:
    found = accounts({"key": (Limit("usd", 100),)})
    reserve(found, "c/1", Amounts(usd_nanos=80, soft_usd_nanos=20))
    found.replace(Rules({"key": (Limit("usd", 100, soft=True),)}))
    found.void("c/1")
    assert figures(found, "key:k") == [(0, 0, 0)]


def test_a_top_up_counts_once_for_the_open_windows_and_lifts_the_block() -> None:
    found = accounts({"agent": (Limit("usd", 100, "run"), Limit("usd", 200, "day")), "key": (Limit("usd", 150),)})
    reserve(found, "c/1", usd(100))
    found.post("c/1", Amounts(usd_nanos=101))
    assert refusing(reserve(found, "c/2", usd(9))) == [("run:r", "usd", "overrun")]
    for _ in range(2):
        (period,) = found.topup("t1", "run:r", unit="usd", amount=60, at=at())
    assert (period.account, period.carrier) == ("run:r", "agent:a")
    assert found.room(("run:r",), at=at()).usd_nanos is None, "the limit is the agent's: it needs the path"
    assert found.room(PATH, at=at()).usd_nanos == 49, "still bounded by the parents"
    assert isinstance(reserve(found, "c/2", usd(49)), Hold)
    assert found.state("run:r", at=at())[0].limit == 160


def test_a_top_up_is_gone_with_its_window() -> None:
    found = accounts({"key": (Limit("usd", 100, "day"),)})
    found.topup("t1", "key:k", unit="usd", amount=60, at=at())
    assert found.room(PATH, at=at()).usd_nanos == 160
    assert found.room(PATH, at=at(DAY)).usd_nanos == 100


def test_a_top_up_that_finds_no_limit_may_be_asked_again() -> None:
    found = accounts()
    assert found.topup("t1", "run:r", unit="usd", amount=5, at=at()) == ()
    reserve(found, "c/1", usd(1))
    assert len(found.topup("t1", "run:r", unit="usd", amount=5, at=at())) == 1
    with pytest.raises(ValueError):
        found.topup("t2", "run:r", unit="usd", amount=0, at=at())


def test_a_top_up_that_the_ledger_knows_is_not_given_again() -> None:
    found = accounts({"key": (Limit("usd", 100),)})
    known = Period("key:k", "usd", "total", 0, "key:k")
    found.remember("t1", (known,))
    assert found.topup("t1", "key:k", unit="usd", amount=60, at=at()) == (known,)
    assert found.room(PATH, at=at()).usd_nanos == 100


# --- what the ledger knows -------------------------------------------------------------------------------------------


def test_a_late_bill_is_booked_where_the_window_is_still_open() -> None:
    found = accounts()
    hold = reserve(found, "c/1", usd(60))
    assert isinstance(hold, Hold)
    found.post("c/1", Amounts(usd_nanos=60))
    posting = found.adjust(hold.windows.periods, Amounts(usd_nanos=70), at=at(DAY))
    assert figures(found, "key:k", at(DAY)) == [(0, 0, 0), (0, 0, 0)], "a closed window blocks nobody"
    assert figures(found, "run:r") == [(100, 30, 0)]
    assert [(charge.period.account, charge.overrun) for charge in posting.charges if charge.overrun] == [("run:r", 30)]
    assert [crossing.percent for crossing in posting.crossings] == [80, 100]
    found.adjust(hold.windows.periods, Amounts(usd_nanos=-30), at=at(DAY))
    assert figures(found, "run:r") == [(100, 0, 0)]
    assert figures(found, "agent:a") == [(0, 0, 0)]


def test_balances_are_restored_as_they_stood() -> None:
    before = accounts()
    reserve(before, "c/1", usd(60))
    before.post("c/1", Amounts(usd_nanos=110, tokens=7))
    before.topup("t1", "run:r", unit="usd", amount=5, at=at())
    after = accounts()
    for name in PATH:
        for standing in before.state(name, at=at()):
            assert after.seed(standing.period, standing.totals, at=at())
    for name in PATH:
        assert after.state(name, at=at()) == before.state(name, at=at())
    assert isinstance(reserve(after, "c/2", Amounts()), Hold), "the block was lifted before"


def test_unresolved_money_counts_as_spent() -> None:
    found = accounts()
    found.seed(Period("run:r", "usd", "run", 0, "agent:a"), Totals(spent=20, unresolved=50), at=at())
    assert found.room(PATH, at=at()).usd_nanos == 30
    assert refusing(reserve(found, "c/1", usd(31))) == [("run:r", "usd", "spent")]


# --- questions -------------------------------------------------------------------------------------------------------


def test_room_is_the_least_that_any_limit_in_money_has_free() -> None:
    found = accounts()
    reserve(found, "c/1", Amounts(usd_nanos=60, tokens=9, requests=1))
    assert found.room(PATH, at=at()).usd_nanos == 40


def test_nothing_is_left_of_a_blocked_account() -> None:
    found = accounts({"key": (Limit("usd", 100),)})
    reserve(found, "c/1", usd(60))
    reserve(found, "c/2", usd(40))
    found.post("c/1", Amounts(usd_nanos=61))
    found.void("c/2")
    assert found.room(PATH, at=at()).usd_nanos == 0


def test_a_strict_limit_makes_the_call_strict() -> None:
    found = accounts({"key": (Limit("usd", 100, hold="strict"),)})
    assert found.room(PATH, at=at()).strict and not found.room(("agent:a",), at=at()).strict


def test_an_account_is_shown_before_its_first_call() -> None:
    (standing,) = accounts().state("team:t", at=at())
    assert (standing.limit, standing.totals, standing.held, standing.resets_wall) == (1_000, Totals(), 0, None)
    assert accounts().state("nobody", at=at()) == ()


def test_runs_pushed_out_early_are_counted() -> None:
    found = Accounts(Rules(LIMITS), Bounds(runs_max=KEPT_LEAST))
    for number in range(KEPT_LEAST + 2):
        reserve(found, f"c/{number}", Amounts(usd_nanos=1), path=("agent:a", f"run:{number}"))
        found.post(f"c/{number}", Amounts(usd_nanos=1))
    assert found.dropped_early == 2
    assert len(found) == KEPT_LEAST + 1
    assert repr(found).startswith("Accounts(0 holds")


# --- what a crash had left open


def lost(unresolved: int = 50) -> Accounts:
    found = accounts()
    found.seed(Period("run:r", "usd", "run", 0, "agent:a"), Totals(spent=20, unresolved=unresolved), at=at())
    return found


@pytest.mark.parametrize(("spent", "left"), [(0, 80), (30, 50), (50, 30), (60, 20)])
def test_a_lost_call_turns_out_to_have_cost_so_much(spent: int, left: int) -> None:
    found = lost()
    found.resolve(Period("run:r", "usd", "run", 0, "agent:a"), 50, spent, at=at())
    assert found.room(PATH, at=at()).usd_nanos == left
    (totals,) = [each.totals for each in found.state("run:r", at=at()) if each.period.unit == "usd"]
    assert totals == Totals(spent=20 + spent)


def test_what_is_not_unresolved_is_not_released() -> None:
    found = lost(unresolved=10)
    found.resolve(Period("run:r", "usd", "run", 0, "agent:a"), 50, 0, at=at())
    assert found.room(PATH, at=at()).usd_nanos == 80


def test_a_lost_call_that_cost_more_than_there_is_is_an_overrun() -> None:
    found = lost()
    found.resolve(Period("run:r", "usd", "run", 0, "agent:a"), 50, 85, at=at())
    (totals,) = [each.totals for each in found.state("run:r", at=at()) if each.period.unit == "usd"]
    assert (totals.spent, totals.overrun) == (100, 5)


def test_a_closed_window_is_left_alone() -> None:
    found = lost()
    found.resolve(Period("run:r", "usd", "run", 1, "agent:a"), 50, 0, at=at())
    assert found.room(PATH, at=at()).usd_nanos == 30


def test_a_refusal_is_told_beforehand_as_it_would_be_and_nothing_is_taken() -> None:
    found = accounts()
    for need in (1, 60, 100, 101, 1_001):
        told, given = found.refusal(PATH, usd(need), at=at()), reserve(accounts(), "c/1", usd(need))
        assert (told is None) == isinstance(given, Hold)
        assert told is None or told == given
    assert found.room(PATH, at=at()).usd_nanos == 100
