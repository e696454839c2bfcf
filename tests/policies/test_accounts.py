"""Holds over a path: all accounts or none, once, in the windows they were taken in."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from policies.accounts import Accounts, Hold
from policies.ladder import ENTERED, reached
from policies.limits import Limit, LimitsByName, Posting, Refusal
from policies.meter import Balance
from proxy.holds import Left
from proxy.pressure import Pressure
from proxy.types import Amounts, Period
from tests.policies.rulebook import DAY, PATH, START, accounts, at, figures, refusing, reserve, usd

LADDER = tuple(ENTERED)

# --- reserve ---------------------------------------------------------------------------------------------------------


def test_every_account_of_the_path_holds() -> None:
    found = accounts()
    assert isinstance(reserve(found, "c/1", Amounts(usd_nanos=40, tokens=20, requests=1)), Hold)
    assert figures(found, "team:t") == [(0, 0, 40)]
    assert figures(found, "key:k") == [(0, 0, 40), (0, 0, 1)]
    assert figures(found, "agent:a") == [(0, 0, 20)]
    assert figures(found, "run:r") == [(0, 0, 40)]


def test_a_refusal_takes_nothing_from_any_account_and_names_each_limit_that_refused() -> None:
    found = accounts()
    answer = reserve(found, "c/1", Amounts(usd_nanos=101, tokens=51, requests=1))
    assert refusing(answer) == [("agent:a", "tokens", "floor"), ("run:r", "usd", "floor")]
    assert isinstance(answer, Refusal) and answer.status == 402
    held = [held for name in PATH for *_, held in figures(found, name)]
    assert held == [0] * 5 and found.live == 0


def test_live_holds_alone_are_told_apart_from_spent_money() -> None:
    found = accounts()
    reserve(found, "c/1", usd(60))
    waiting = reserve(found, "c/2", usd(41))
    assert refusing(waiting) == [("run:r", "usd", "held")]
    assert isinstance(waiting, Refusal) and waiting.only_held and waiting.retry_after_s == 1.0
    found.post("c/1", Amounts(usd_nanos=60))
    assert refusing(reserve(found, "c/2", usd(41))) == [("run:r", "usd", "spent")]


def test_a_refusal_says_when_the_window_resets() -> None:
    found = accounts()
    for number in range(3):
        reserve(found, f"c/{number}", Amounts(requests=1), at(15))
        found.post(f"c/{number}", Amounts())
    answer = reserve(found, "c/3", Amounts(requests=1), at(20))
    assert isinstance(answer, Refusal)
    (short,) = answer.shortfalls
    assert (short.limit, short.spent, short.held, short.needed, short.reason) == (3, 3, 0, 1, "spent")
    assert (short.resets_wall, answer.retry_after_s, answer.status) == (START + 60, 40.0, 429)
    assert short.period == Period("key:k", "requests", "minute", int(START) // 60, "key:k")
    assert isinstance(reserve(found, "c/3", Amounts(requests=1), at(60)), Hold)


def test_a_repeat_of_an_id_returns_the_first_hold_and_holds_nothing_more() -> None:
    found = accounts()
    first = reserve(found, "c/1", usd(60))
    assert reserve(found, "c/1", usd(99)) is first
    assert figures(found, "run:r") == [(0, 0, 60)] and found.live == 1
    found.post("c/1", Amounts(usd_nanos=10))
    assert figures(found, "run:r") == [(10, 0, 0)] and found.live == 0


def test_a_refused_id_may_ask_again() -> None:
    found = accounts()
    assert isinstance(reserve(found, "c/1", usd(101)), Refusal)
    assert isinstance(reserve(found, "c/1", usd(100)), Hold)


def test_nothing_is_remembered_of_a_hold_that_has_ended() -> None:
    found = accounts()
    first = reserve(found, "c/1", usd(60))
    found.void("c/1")
    again = reserve(found, "c/1", usd(70))
    assert again is not first and figures(found, "run:r") == [(0, 0, 70)]


def test_a_path_without_limits_is_held_and_posted_all_the_same() -> None:
    found = accounts({})
    hold = reserve(found, "c/1", usd(10**12))
    assert isinstance(hold, Hold) and hold.windows.periods == () and found.live == 1
    assert found.post("c/1", Amounts(usd_nanos=1)) == Posting()
    assert found.live == 0 and len(found) == 0


# --- ending ----------------------------------------------------------------------------------------------------------


def test_a_second_settlement_is_ignored() -> None:
    found = accounts()
    reserve(found, "c/1", usd(60))
    assert found.post("c/1", Amounts(usd_nanos=50)) is not None
    assert found.post("c/1", Amounts(usd_nanos=50)) is None
    assert not found.void("c/1")
    assert found.extend("c/1", usd(70), wall=START) is None
    assert figures(found, "run:r") == [(50, 0, 0)]


def test_a_void_returns_all_of_the_hold() -> None:
    found = accounts()
    reserve(found, "c/1", Amounts(usd_nanos=60, tokens=9, requests=1))
    assert found.void("c/1")
    assert figures(found, "key:k") == [(0, 0, 0), (0, 0, 0)]
    assert figures(found, "agent:a") == [(0, 0, 0)]


def test_a_request_counts_as_soon_as_anything_was_sent_even_at_no_cost() -> None:
    found = accounts()
    reserve(found, "c/1", usd(60))
    found.post("c/1", Amounts())
    assert figures(found, "key:k") == [(0, 0, 0), (1, 0, 0)]


def test_concurrency_is_returned_at_the_end_and_never_spent() -> None:
    found = accounts({"key": (Limit("concurrency", 1),)})
    for number in range(3):
        assert isinstance(reserve(found, f"c/{number}", Amounts(concurrency=1)), Hold)
        assert refusing(reserve(found, "other", Amounts(concurrency=1))) == [("key:k", "concurrency", "held")]
        found.post(f"c/{number}", Amounts(usd_nanos=5, tokens=5))
    assert figures(found, "key:k") == [(0, 0, 0)]


def test_each_limit_pays_an_excess_with_its_own_room() -> None:
    found = accounts()
    reserve(found, "c/1", usd(60))
    posting = found.post("c/1", Amounts(usd_nanos=130, tokens=0))
    assert posting is not None
    assert [(charge.period.account, charge.overrun) for charge in posting.charges if charge.overrun] == [("run:r", 30)]
    assert figures(found, "team:t") == [(130, 0, 0)]
    assert figures(found, "run:r") == [(100, 30, 0)]
    assert refusing(reserve(found, "c/2", Amounts())) == [("run:r", "usd", "overrun")]


def test_crossings_are_returned_with_the_posting_that_made_them() -> None:
    found = accounts()
    reserve(found, "c/1", usd(80))
    posting = found.post("c/1", Amounts(usd_nanos=80))
    assert posting is not None
    told = [(crossing.period.account, crossing.percent) for crossing in posting.crossings]
    assert told == [("run:r", 50), ("run:r", 80)]


def test_a_hold_belongs_to_the_windows_it_was_taken_in() -> None:
    found = accounts()
    hold = reserve(found, "c/1", usd(60), at(DAY - 1))
    assert isinstance(hold, Hold)
    tomorrow = at(DAY + 1)
    assert figures(found, "key:k", tomorrow) == [(0, 0, 0), (0, 0, 0)]
    found.post("c/1", Amounts(usd_nanos=60))
    assert figures(found, "key:k", tomorrow) == [(0, 0, 0), (0, 0, 0)]
    assert figures(found, "team:t", tomorrow) == [(60, 0, 0)]
    assert {period.account: period.id for period in hold.windows.periods if period.per == "day"} == {
        "key:k": found.state("key:k", at=tomorrow)[0].period.id - 1
    }


def test_a_clock_set_back_reopens_nothing_and_one_set_forward_opens_the_next_early() -> None:
    found = accounts({"key": (Limit("usd", 100, "day"),)})
    for id, day in (("today", 0), ("tomorrow", 1)):
        assert isinstance(reserve(found, id, usd(100), at(day * DAY)), Hold)
        found.post(id, Amounts(usd_nanos=100))
    assert refusing(reserve(found, "back", usd(1), at(0))) == [("key:k", "usd", "spent")]
    assert refusing(reserve(found, "then", usd(1), at(DAY + 5))) == [("key:k", "usd", "spent")]
    assert isinstance(reserve(found, "after", usd(1), at(2 * DAY)), Hold)


def test_holds_past_their_time_are_told_until_someone_ends_them() -> None:
    found = accounts()
    hold = reserve(found, "c/1", usd(60))
    assert found.expire(59.9) == ()
    assert found.expire(60.0) == found.expire(61.0) == (hold,)
    assert figures(found, "run:r") == [(0, 0, 60)], "they are never voided by themselves"
    found.post("c/1", Amounts(usd_nanos=60))
    assert found.expire(100.0) == ()


# --- extend ----------------------------------------------------------------------------------------------------------


def test_a_hold_is_raised_under_the_same_test_and_never_lowered() -> None:
    found = accounts()
    reserve(found, "c/1", Amounts(usd_nanos=60, tokens=5))
    raised = found.extend("c/1", Amounts(usd_nanos=90), wall=START)
    assert isinstance(raised, Hold) and (raised.amounts.usd_nanos, raised.amounts.tokens) == (90, 5)
    assert figures(found, "agent:a") == [(0, 0, 5)] and figures(found, "run:r") == [(0, 0, 90)]
    answer = found.extend("c/1", Amounts(usd_nanos=101, tokens=6), wall=START)
    assert refusing(answer) == [("run:r", "usd", "floor")], "its own hold is not in its way"
    assert isinstance(answer, Refusal) and (answer.shortfalls[0].held, answer.shortfalls[0].needed) == (0, 101)
    assert figures(found, "agent:a") == [(0, 0, 5)] and figures(found, "run:r") == [(0, 0, 90)]
    found.post("c/1", Amounts(usd_nanos=70, tokens=2))
    assert figures(found, "agent:a") == [(2, 0, 0)] and figures(found, "run:r") == [(70, 0, 0)]


def test_a_soft_limit_holds_less_and_is_raised_alone() -> None:
    found = accounts({"key": (Limit("usd", 100, soft=True),), "agent": (Limit("usd", 100),)})
    reserve(found, "c/1", Amounts(usd_nanos=80, soft_usd_nanos=20))
    assert figures(found, "key:k") == [(0, 0, 20)] and figures(found, "agent:a") == [(0, 0, 80)]
    found.extend("c/1", Amounts(usd_nanos=80, soft_usd_nanos=40), wall=START)
    assert figures(found, "key:k") == [(0, 0, 40)] and figures(found, "agent:a") == [(0, 0, 80)]
    found.post("c/1", Amounts(usd_nanos=50))
    assert figures(found, "key:k") == figures(found, "agent:a") == [(50, 0, 0)]


def test_the_pressure_is_that_of_the_tightest_limit_in_money_or_tokens() -> None:
    found = accounts()
    reserve(found, "1", Amounts(usd_nanos=70, tokens=10, requests=3, steps=1))
    pressure = found.pressure(PATH, at=at())
    assert pressure.period is not None
    assert (pressure.period.account, pressure.period.carrier, pressure.felt, pressure.taken) == (
        "run:r",
        "agent:a",
        700,
        700,
    )
    assert (pressure.limit, pressure.used, pressure.held, pressure.resets_wall) == (100, 0, 70, None)


@given(limit=st.integers(0, 3_000), shares=st.lists(st.integers(550, 1_000), min_size=1, max_size=12))
def test_a_pressure_that_is_not_worked_out_leaves_the_ladder_where_it_would_stand(
    limit: int, shares: list[int]
) -> None:
    """Against a limit that is asked each time."""
    found = accounts({"run": (Limit("usd", limit),)})
    asked = Balance(Period("run:r", "usd", "total", 0, "run:r"), Limit("usd", limit), resets_wall=inf, tolerance=0)
    for number, share in enumerate(shares):
        taken = limit * share // 1_000
        reserve(found, str(number), Amounts(usd_nanos=taken))
        asked.free = limit - taken
        felt = found.pressure(PATH, at=at()).felt
        assert reached(LADDER, felt) == reached(LADDER, asked.press())
        found.void(str(number))


def test_nothing_presses_a_path_without_such_limits() -> None:
    assert found_none(accounts({"key": (Limit("requests", 1),)})) == Pressure()
    assert found_none(accounts({})) == Pressure()


def found_none(found: Accounts) -> Pressure:
    reserve(found, "1", Amounts(requests=1))
    return found.pressure(PATH, at=at())


def test_the_pace_of_any_limit_on_the_path_counts() -> None:
    found = accounts()
    reserve(found, "1", usd(60))
    found.post("1", Amounts(usd_nanos=60))
    for name in found.names:
        found.pace(name, at=at(60))
    assert found.pressure(PATH, at=at(60)).pace == 1
    assert [standing.pace for standing in found.look("key:k", at=at(60))] == [1, 0]
    assert found.look("key:never-seen", at=at()) == ()


def test_the_room_of_a_path_is_the_least_that_a_limit_in_money_has_free() -> None:
    found = accounts()
    assert found.room(PATH, at=at()) == Left(100, hard=True, tokens=True)
    reserve(found, "c/1", usd(60))
    assert found.room(PATH, at=at()).usd_nanos == 40
    assert found.room(("nobody:knows",), at=at()) == Left()
    rules = LimitsByName({"key:k": (Limit("usd", 5, soft=True, hold="strict"),)})
    assert Accounts(rules).room(("key:k",), at=at()) == Left(5, strict=True, soft=True)


def test_what_had_no_room_beside_the_holds_of_others_is_overrun_though_no_threshold_is_near() -> None:
    found = accounts({"key": (Limit("usd", 1_000),)})
    reserve(found, "c/1", usd(10))
    reserve(found, "c/2", usd(990))
    posting = found.post("c/1", Amounts(usd_nanos=100))
    assert posting is not None and not posting.crossings
    assert [charge.overrun for charge in posting.overruns] == [90]
    assert figures(found, "key:k") == [(10, 90, 990)]


def test_a_limit_that_nothing_was_taken_from_is_charged_nothing() -> None:
    found = accounts({"key": (Limit("usd", 1_000), Limit("concurrency", 3))})
    reserve(found, "c/1", Amounts(usd_nanos=10, requests=1, concurrency=1))
    posting = found.post("c/1", Amounts(usd_nanos=10))
    assert posting is not None
    assert [(charge.period.unit, charge.amount) for charge in posting.charges] == [("usd", 10)]
