"""The arithmetic of one limit: what fits, what is overrun, what blocks, what is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.limits import Limit, Totals
from policies.meter import Balance, Common, Meter
from tests.policies.rulebook import DAY, START


def meter(amount: int = 100, **about: object) -> Meter:
    limit = Limit("usd", amount, **about)  # type: ignore[arg-type]  # tables name the fields
    return Meter("agent:a", "agent:a", limit, common=Common(), wall=START)


def balance(amount: int = 100, held: int = 0, spent: int = 0) -> Balance:
    found = meter(amount).balance
    found.free -= held + spent
    found.post(spent, spent)
    return found


@pytest.mark.parametrize(
    ("held", "spent", "need", "fits"),
    [(0, 0, 100, True), (0, 0, 101, False), (40, 60, 0, True), (40, 60, 1, False), (30, 60, 10, True)],
)
def test_a_hold_fits_while_all_that_is_counted_stays_within_the_limit(
    held: int, spent: int, need: int, fits: bool
) -> None:
    assert balance(held=held, spent=spent).admits(need) is fits


@pytest.mark.parametrize(
    ("others_held", "held", "used", "spent", "overrun"),
    [
        (0, 30, 20, 20, 0),  # less than was held
        (0, 30, 30, 30, 0),
        (0, 30, 90, 90, 0),  # the excess is paid by what is free
        (50, 30, 90, 50, 40),  # what others hold is not free
        (0, 30, 130, 100, 30),
        (70, 30, 31, 30, 1),
    ],
)
def test_an_excess_is_spent_while_there_is_room_and_overrun_after_that(
    others_held: int, held: int, used: int, spent: int, overrun: int
) -> None:
    found = balance(held=others_held + held)
    assert found.post(held, used) == overrun
    assert (found.spent, found.overrun, found.pending) == (spent, overrun, others_held)


def test_an_overrun_blocks_even_when_money_comes_free_again() -> None:
    found = balance(held=100)
    found.post(40, 41)
    found.free += 60  # the other hold is voided
    assert found.free == 59
    assert not found.admits(1) and not found.admits(0)
    assert found.shortfall(1).reason == "overrun"


def test_a_top_up_lifts_the_block_and_the_next_overrun_sets_it_again() -> None:
    found = balance(held=100)
    found.post(100, 110)
    found.top_up(30)
    assert found.admits(20) and not found.admits(21)
    found.free -= 20
    found.post(20, 21)
    assert not found.admits(0)


def test_a_tolerated_overrun_does_not_block() -> None:
    found = Meter("a", "a", Limit("usd", 100), common=Common(tolerance=5), wall=START).balance
    found.free -= 100
    found.post(50, 55)
    assert found.overrun == 5 and found.admits(0)
    found.post(50, 51)
    assert found.overrun == 6 and not found.admits(0)


def test_only_money_has_a_tolerance() -> None:
    found = Meter("a", "a", Limit("tokens", 100), common=Common(tolerance=5), wall=START).balance
    found.free -= 100
    found.post(100, 101)
    assert not found.admits(0)


def test_a_refund_takes_back_the_overrun_before_what_was_spent_and_never_more_than_both() -> None:
    found = balance(held=100)
    found.post(100, 110)
    found.adjust(-15)
    assert (found.spent, found.overrun, found.blocked) == (95, 0, False)
    found.adjust(-1000)
    assert (found.spent, found.overrun) == (0, 0)


def test_a_refund_after_a_top_up_does_not_pardon_the_next_overrun() -> None:
    found = balance(held=100)
    found.post(100, 110)
    found.top_up(10)
    found.adjust(-10)
    found.free -= 10
    found.post(10, 15)
    assert found.overrun == 5 and found.blocked


def test_a_late_bill_is_spent_while_there_is_room() -> None:
    found = balance(spent=90)
    assert found.adjust(25) == 15
    assert (found.spent, found.overrun) == (100, 15)


@pytest.mark.parametrize(
    ("totals", "held", "need", "reason"),
    [
        (Totals(spent=100), 0, 1, "spent"),
        (Totals(spent=60), 40, 10, "held"),
        (Totals(spent=60), 40, 41, "spent"),  # it would not fit without the holds either
        (Totals(spent=60, unresolved=31), 0, 10, "spent"),
        (Totals(spent=0), 0, 101, "floor"),  # more than there ever is
        (Totals(spent=100, overrun=1), 0, 1, "overrun"),
        (Totals(spent=101), 0, 1, "lowered"),
    ],
)
def test_a_shortfall_says_why(totals: Totals, held: int, need: int, reason: str) -> None:
    found = balance()
    found.restore(totals)
    found.free -= held
    assert not found.admits(need)
    shortfall = found.shortfall(need)
    assert shortfall.reason == reason
    assert (shortfall.limit, shortfall.held, shortfall.needed) == (100, held, need)
    assert shortfall.spent == totals.spent + totals.overrun + totals.unresolved


def test_thresholds_are_told_once_and_together_when_jumped_over() -> None:
    found = balance(held=200)
    told = []
    for used in (49, 1, 29, 1, 0, 25, 10):
        found.post(used, used)
        told.append([crossing.percent for crossing in found.crossings()])
    assert told == [[], [50], [], [80], [], [100], []]
    jump = balance(spent=100)
    assert [crossing.percent for crossing in jump.crossings()] == [50, 80, 100]


@pytest.mark.parametrize("amount", [1, 3, 7, 99, 101])
def test_a_threshold_is_never_told_early(amount: int) -> None:
    found = balance(amount, held=amount)
    for used in range(1, amount + 1):
        found.post(1, 1)
        for crossing in found.crossings():
            assert used * 100 >= crossing.percent * amount > (used - 1) * 100


def test_what_was_told_before_a_restart_is_not_told_again() -> None:
    found = balance()
    found.restore(Totals(spent=79, unresolved=2))
    assert found.crossings() == ()
    found.free -= 19
    found.post(19, 19)
    assert [crossing.percent for crossing in found.crossings()] == [100]


def test_a_limit_of_nothing_has_no_thresholds() -> None:
    found = balance(0)
    assert found.crossings() == () and found.admits(0) and not found.admits(1)


def test_the_next_window_starts_at_nothing_and_the_last_keeps_its_holds() -> None:
    daily = meter(per="day")
    first = daily.at(START)
    first.free -= 10
    second = daily.at(START + DAY)
    assert second is not first and second.free == 100 and first.pending == 10
    assert second.period.id == first.period.id + 1
    assert daily.at(START) is second, "a clock set back reopens nothing"


def test_another_time_zone_goes_on_with_the_window_until_its_id_is_passed() -> None:
    daily = meter(per="day", time_zone="Pacific/Apia")
    first = daily.at(START)
    daily.change(Limit("usd", 100, "day", "America/New_York"))
    assert first.resets_wall == START + 11 * 3600
    assert daily.at(first.resets_wall) is first
    assert daily.at(START + 5 * 3600 + DAY).period.id == first.period.id + 1


def test_a_restored_window_counts_only_while_it_is_open() -> None:
    daily = meter(per="day")
    today = daily.balance.period.id
    daily.restore(today - 1, Totals(spent=99))
    assert daily.balance.free == 100
    daily.restore(today, Totals(spent=50, granted=7))
    assert daily.balance.free == 57
    daily.restore(today + 1, Totals(spent=60))  # the clock was set back while the gate was down
    assert daily.at(START + DAY - 1).free == daily.at(START + DAY).free == 40
    assert daily.at(START + 2 * DAY).free == 100
    daily.restore(today + 5, Totals(spent=70))
    assert [daily.at(START + day * DAY).free for day in (3, 4, 5, 6)] == [30, 30, 30, 100]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 90)), max_size=20), st.integers(0, 200))
def test_no_posting_takes_what_is_spent_above_the_limit(calls: list[tuple[int, int]], amount: int) -> None:
    found = balance(amount)
    overrun = 0
    for held, used in calls:
        if found.free >= held:
            found.free -= held
            overrun += found.post(held, used)
    assert found.spent <= amount
    assert found.overrun == overrun
    assert found.pending == 0


def test_a_balance_and_a_meter_show_their_figures() -> None:
    assert "agent:a, usd per total 0: 60 + 0 + 0 + 40 of 100" in repr(balance(held=40, spent=60))
    assert "agent:a" in repr(meter())


@pytest.mark.parametrize(
    ("taken", "felt"),
    [
        ([700], [700]),
        ([720, 690, 670, 640], [720, 720, 720, 690]),  # a rung at 70 % is left below 65 %
        ([690, 680, 700], [690, 690, 700]),
        ([720, 640, 660, 700], [720, 690, 690, 700]),  # and entered again at 70 % only
        ([300, 0, 100], [300, 50, 100]),
    ],
)
def test_the_pressure_that_is_felt_rises_at_once_and_falls_late(taken: list[int], felt: list[int]) -> None:
    found = balance(1_000)
    seen = []
    for each in taken:
        found.free = 1_000 - each
        seen.append(found.press())
    assert seen == felt


def test_a_new_window_and_a_topup_end_the_pressure_at_once() -> None:
    found = meter(100, per="day")
    found.balance.free -= 90
    assert found.balance.press() == 900
    found.balance.top_up(50)
    assert found.balance.press() == 600
    found.balance.pace = 7
    fresh = found.at(START + DAY)
    assert (fresh.press(), fresh.pace) == (0, 0)


def test_the_pace_is_moved_by_what_was_used_of_the_open_window() -> None:
    found = meter(100, per="day")
    found.balance.post(0, 80)
    for _ in range(12):
        found.set_pace(START + DAY / 2)
    assert found.balance.pace == 10
    found.set_pace(START + DAY * 0.9)
    assert found.balance.pace == 9
