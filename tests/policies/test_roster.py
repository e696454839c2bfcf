"""Which limits a path meets, and which accounts are forgotten."""

from __future__ import annotations

import pytest

from policies.chart import Chart
from policies.limits import Instant, Limit, Totals
from policies.roster import ASIDE_MAX, KEPT_LEAST, Bounds, Roster
from proxy.types import Period
from tests.policies.rulebook import DAY, Rules, at

PER_RUN = Limit("usd", 10, "run")
DAILY = Limit("usd", 100, "day")
HOUR = 3_600.0


def roster(bounds: Bounds | None = None, **limits: tuple[Limit, ...]) -> Roster:
    return Roster(Rules(limits), bounds or Bounds(), tolerance=0)


def met(chart: Chart) -> list[tuple[str, str, str]]:
    periods = [meter.balance.period for meter in chart.meters]
    return [(period.account, period.carrier, period.per) for period in periods]


def spend(chart: Chart, amount: int = 1) -> None:
    for meter in chart.meters:
        meter.balance.free -= amount
        meter.balance.post(amount, amount)


def test_a_path_meets_its_own_limits_from_the_top_down() -> None:
    found = roster(key=(DAILY, Limit("tokens", 5)), agent=(DAILY,)).chart(("team:t", "key:k", "agent:a"), at())
    assert met(found) == [("key:k", "key:k", "day"), ("key:k", "key:k", "total"), ("agent:a", "agent:a", "day")]


def test_a_limit_per_run_is_met_by_every_run_below_and_by_nobody_else() -> None:
    found = roster(team=(PER_RUN,), agent=(PER_RUN,)).chart(("team:t", "agent:a", "run:p", "run:c"), at())
    assert met(found) == [
        ("run:p", "team:t", "run"),
        ("run:p", "agent:a", "run"),
        ("run:c", "team:t", "run"),
        ("run:c", "agent:a", "run"),
    ]


def test_a_run_that_carries_a_limit_per_run_is_itself_limited() -> None:
    found = Roster(Rules({"run:p": (PER_RUN,)}), Bounds(), tolerance=0).chart(("run:p", "run:c"), at())
    assert met(found) == [("run:p", "run:p", "run"), ("run:c", "run:p", "run")]


def test_two_agents_in_one_run_have_their_own_share_of_it() -> None:
    found = roster(key=(PER_RUN,), agent=(PER_RUN,))
    one, other = (found.chart(("key:k", f"agent:{name}", "run:r"), at()) for name in "ab")
    assert one.meters[0] is other.meters[0]
    assert one.meters[1] is not other.meters[1]


def test_a_path_without_limits_makes_no_account() -> None:
    found = roster()
    assert found.chart(("key:k", "run:r"), at()).windows.balances == ()
    assert len(found) == 0


def test_one_strict_limit_makes_the_path_strict() -> None:
    found = roster(key=(DAILY,), agent=(Limit("usd", 1, "day", hold="strict"),))
    assert not found.chart(("key:k",), at()).demands.strict
    assert found.chart(("key:k", "agent:a"), at()).demands.strict


def test_a_reload_keeps_what_was_counted_and_drops_what_is_no_longer_limited() -> None:
    found = roster(key=(DAILY, Limit("tokens", 5)), agent=(DAILY,))
    path = ("key:k", "agent:a")
    spend(found.chart(path, at()), 4)
    found.replace(Rules({"key": (Limit("usd", 7, "day"), Limit("requests", 9))}))
    chart = found.chart(path, at())
    assert [(meter.balance.limit, meter.balance.used) for meter in chart.meters] == [(7, 4), (9, 0)]
    assert len(found) == 1


def test_a_limit_added_by_a_reload_is_met_from_then_on() -> None:
    found = roster(key=(DAILY,))
    assert len(found.chart(("key:k",), at()).meters) == 1
    found.replace(Rules({"key": (DAILY, Limit("requests", 9))}))
    assert len(found.chart(("key:k",), at()).meters) == 2


def test_a_limit_that_comes_back_within_its_window_goes_on_where_it_was() -> None:
    found = roster(key=(DAILY,))
    before = found.chart(("key:k",), at())
    spend(before, 60)
    found.replace(Rules({}))
    assert found.chart(("key:k",), at(HOUR)).meters == ()
    spend(before, 5)  # a hold that was taken before ends now
    found.replace(Rules({"key": (Limit("usd", 70, "day"),)}))
    (balance,) = found.chart(("key:k",), at(2 * HOUR)).windows.balances
    assert (balance.limit, balance.used, balance.free) == (70, 65, 5)
    found.replace(Rules({}))
    found.replace(Rules({"key": (DAILY,)}))
    (balance,) = found.chart(("key:k",), at(DAY)).windows.balances
    assert (balance.limit, balance.used) == (100, 0), "another day"


def test_so_many_counts_are_kept_of_limits_that_are_gone() -> None:
    found = Roster(Rules({"key": (DAILY,)}), Bounds(), tolerance=0)
    names = [f"key:{number}" for number in range(ASIDE_MAX + 1)]
    for name in names:
        spend(found.chart((name,), at()))
    found.replace(Rules({}))
    found.replace(Rules({"key": (DAILY,)}))
    used = [found.chart((name,), at()).windows.balances[0].used for name in names]
    assert used == [0] + [1] * ASIDE_MAX


def test_a_seed_without_a_limit_is_refused() -> None:
    found = roster(agent=(PER_RUN,))
    assert not found.restore(Period("run:r", "usd", "total", 0, "agent:a"), Totals(spent=3), at())
    assert found.restore(Period("run:r", "usd", "run", 0, "agent:a"), Totals(spent=3), at())
    assert found.chart(("agent:a", "run:r"), at()).meters[0].balance.spent == 3


# --- forgetting ------------------------------------------------------------------------------------------------------


def fill(found: Roster, kind: str, count: int = KEPT_LEAST, *, spent: int = 1, since: Instant | None = None) -> None:
    for number in range(count):
        chart = found.chart(("agent:a", f"{kind}:{number}"), since or at(number))
        found.used(chart.runs, (since or at(number)).now)
        spend(chart, spent)


def test_so_few_accounts_cannot_be_kept_that_a_path_would_push_out_its_own() -> None:
    with pytest.raises(ValueError):
        Bounds(runs_max=KEPT_LEAST - 1)


def test_the_run_that_was_idle_longest_is_forgotten_first() -> None:
    found = roster(Bounds(runs_max=KEPT_LEAST, idle_s=HOUR), agent=(PER_RUN,))
    fill(found, "run")
    again = found.chart(("agent:a", "run:0"), at(HOUR))
    found.used(again.runs, at(HOUR).now)
    found.chart(("agent:a", "run:new"), at(2 * HOUR))
    assert len(found) == KEPT_LEAST
    assert found.known("run:0", at(2 * HOUR)) and not found.known("run:1", at(2 * HOUR))
    assert found.dropped_early == 0


def test_a_run_pushed_out_before_its_time_is_counted() -> None:
    found = roster(Bounds(runs_max=KEPT_LEAST, idle_s=HOUR), agent=(PER_RUN,))
    fill(found, "run")
    found.chart(("agent:a", "run:new"), at(HOUR - 1))
    assert found.dropped_early == 1


def test_a_run_that_spent_nothing_goes_before_one_that_did() -> None:
    found = roster(Bounds(runs_max=KEPT_LEAST), agent=(PER_RUN,))
    found.chart(("agent:a", "run:spent"), at())
    spend(found.chart(("agent:a", "run:spent"), at()))
    fill(found, "run", KEPT_LEAST - 1, spent=0)
    found.chart(("agent:a", "run:new"), at())
    assert found.known("run:spent", at()) and not found.known("run:0", at())
    assert found.dropped_early == 0


def test_a_run_with_a_hold_is_never_forgotten() -> None:
    found = roster(Bounds(runs_max=KEPT_LEAST), agent=(PER_RUN,))
    held = found.chart(("agent:a", "run:held"), at())
    held.accounts[0].holds += 1
    fill(found, "run", 3 * KEPT_LEAST)
    assert found.chart(("agent:a", "run:held"), at(DAY)) is held
    assert found.known("run:held", at(DAY)) == (held.meters[0].balance,)


def test_a_run_of_which_another_process_holds_money_is_never_forgotten() -> None:
    found = roster(Bounds(runs_max=KEPT_LEAST, idle_s=HOUR), agent=(PER_RUN,))
    fill(found, "run")
    lent = found.chart(("agent:a", "run:0"), at())
    lent.meters[0].balance.free -= 5
    for number in range(20):
        found.chart(("agent:a", f"run:new{number}"), at(2 * HOUR))
    assert found.chart(("agent:a", "run:0"), at(2 * HOUR)).meters[0].balance.pending == 5


def test_accounts_that_were_only_asked_about_are_not_kept() -> None:
    found = roster(agent=(PER_RUN, Limit("usd", 9)))
    path = ("agent:a", "run:r")
    spend(found.chart(path, at()), 1)
    found.dismiss(path, at())
    assert len(found) == 2
    found.chart(("agent:b", "agent:a", "run:other"), at())
    found.dismiss(("agent:b", "agent:a", "run:other"), at())
    assert (len(found), found.forgotten) == (2, 0)
    assert found.chart(path, at()).meters[0].balance.spent == 1


def test_a_forgotten_run_starts_again_with_an_account_of_its_own() -> None:
    found = roster(Bounds(runs_max=KEPT_LEAST), agent=(PER_RUN,))
    path = ("agent:a", "run:old")
    old = found.chart(path, at())
    spend(old, 10)
    fill(found, "run")
    again = found.chart(path, at(DAY))
    assert again.meters[0] is not old.meters[0]
    assert found.chart(path, at(DAY)) is again


def test_other_accounts_are_forgotten_only_when_nothing_is_counted_in_an_open_window() -> None:
    found = roster(Bounds(others_max=KEPT_LEAST), tool=(DAILY,), agent=())
    fill(found, "tool", since=at())
    fill(found, "tool", KEPT_LEAST + 50, since=at(1))
    assert len(found) == KEPT_LEAST + 50, "each of them has something to lose until midnight"
    for number in range(60):
        found.chart((f"tool:tomorrow{number}",), at(DAY))
    assert len(found) == KEPT_LEAST + 50


def test_the_accounts_of_a_path_are_not_pushed_out_by_the_rest_of_it() -> None:
    found = roster(Bounds(others_max=KEPT_LEAST, runs_max=KEPT_LEAST), key=(DAILY,), agent=(DAILY, PER_RUN))
    found.chart(("key:k", "run:p"), at())
    for number in range(3 * KEPT_LEAST):
        chart = found.chart(("key:k", f"agent:{number}", "run:p", f"run:{number}"), at())
        assert not any(account.gone for account in chart.accounts)


def test_a_roster_shows_its_size() -> None:
    found = roster(agent=(DAILY,))
    chart = found.chart(("agent:a",), at())
    assert repr(found) == "Roster(0 runs, 1 others, 1 paths)"
    assert "agent:a" in repr(chart.accounts[0])


def test_it_is_known_how_often_a_count_was_lost() -> None:
    found = roster(key=(DAILY, PER_RUN), agent=(DAILY,))
    found.chart(("key:k", "agent:a", "run:r"), at())
    assert found.forgotten == 0
    found.replace(Rules({"key": (DAILY,)}))
    assert found.forgotten == 2 + 2, "two limits, and the two accounts that have none left"


def test_a_window_that_one_path_has_seen_end_is_closed_to_all_though_the_clock_goes_back() -> None:
    found = roster(key=(Limit("usd", 9, per="day"),))
    one, other = ("key:k",), ("key:k", "run:r")
    before = found.chart(one, at()).windows.balances
    assert found.chart(other, at()).windows.balances == before
    after = found.chart(one, at(DAY)).windows.balances
    assert after[0] is not before[0]
    assert found.chart(other, at(DAY - 1)).windows.balances == after
    assert found.chart(one, at(DAY - 1)).windows.balances == after


def test_a_path_that_was_asked_about_again_and_again_notices_that_its_run_was_forgotten() -> None:
    found = roster(Bounds(runs_max=KEPT_LEAST), agent=(PER_RUN,))
    path = ("agent:a", "run:mine")
    before = found.chart(path, at())
    assert found.chart(path, at()) is before and found.chart(path, at()) is before
    fill(found, "run")
    after = found.chart(path, at())
    assert before.accounts[0].gone and after is not before and not after.accounts[0].gone
