"""Retries, fallbacks and hedges, read from the outcome of a call."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from proxy.observed import Decision, Looped, Spared
from proxy.telemetry.catalog import NO_HEDGE, SERVED_BY
from proxy.telemetry.merging import Merger, Sender
from proxy.types import Attempt, Outcome, Plan
from tests.proxy.telemetry.samples import ATTEMPT, CALL, DEEP, FAST, OUTCOME, metrics, moved, scrape, value

# A primary that hangs, a hedge after one second that answers half a second later; the primary is closed then.
HUNG = replace(ATTEMPT, duration_s=1.5, lesson="ignore", first_event_s=None, cost_usd_nanos=2_000)
OVERTOOK = replace(ATTEMPT, number=2, role="hedge", target=DEEP, started_at=1001.0, duration_s=4.0, first_event_s=0.5)
HEDGES = (
    *("hedges_fired_total", "hedges_finished_total", "hedge_wasted_tokens_total", "hedge_wasted_usd_total"),
    *("retries_total", "fallbacks_total", "hedges_suppressed_total", "attempt_budget_refused_total"),
)


def after(*attempts: Attempt, decisions: tuple[Decision, ...] = ()) -> dict[tuple[str, ...], float]:
    made = metrics(replace(OUTCOME, attempts=attempts, decisions=decisions))
    return moved(scrape(made, *(name.removesuffix("_total") for name in HEDGES)), *HEDGES)


def test_a_broken_prefix_is_counted_by_its_culprit() -> None:
    decision = Decision(1000.0, "the run's prompt is not the one before and more", broke="clock")
    found = scrape(metrics(replace(OUTCOME, decisions=(decision,))), "prompt_prefix_breaks")
    assert moved(found, "prompt_prefix_breaks_total") == {("prompt_prefix_breaks_total", "planner", "clock"): 1}


def test_a_run_that_goes_round_in_circles_is_counted_by_what_was_done() -> None:
    told = (Decision(1000.0, "its run goes round in circles"),)
    outcomes = [
        replace(OUTCOME, decisions=told, loop=Looped("repeat", 4, 1, action=action))
        for action in ("annotate", "refuse", "refuse")
    ]
    found = scrape(metrics(*outcomes), "loops_detected")
    assert moved(found, "loops_detected_total") == {
        ("loops_detected_total", "annotate", "planner"): 1,
        ("loops_detected_total", "refuse", "planner"): 2,
    }


def test_a_hedge_that_answers_first_has_won_and_the_bill_of_the_other_is_waste() -> None:
    assert after(HUNG, OVERTOOK) == {
        ("hedges_fired_total", "smart"): 1,
        ("hedges_finished_total", "smart", "hedge"): 1,
        ("hedge_wasted_tokens_total", "reported", "smart"): 1_091,
        ("hedge_wasted_usd_total", "reported", "smart"): 2e-06,
    }


def test_an_original_that_comes_after_all_has_won_in_whatever_order_they_ended() -> None:
    late = replace(ATTEMPT, first_event_s=1.2, duration_s=9.0)
    closed = replace(OVERTOOK, duration_s=0.2, lesson="ignore", first_event_s=None, cost_usd_nanos=7_000)
    drained = replace(closed, duration_s=20.0, lesson="success")
    for attempts in ((closed, late), (late, drained)):
        found = after(*attempts)
        assert found["hedges_finished_total", "smart", "original"] == 1
        assert found["hedge_wasted_usd_total", "reported", "smart"] == 7e-06


def test_of_two_at_the_same_instant_the_one_that_was_given_up_has_lost() -> None:
    tied = replace(HUNG, first_event_s=1.5)
    assert after(tied, OVERTOOK)["hedges_finished_total", "smart", "hedge"] == 1


def test_where_nobody_answered_the_hedge_was_in_vain() -> None:
    failed = replace(HUNG, error_code="upstream_timeout", lesson="overload", duration_s=20.0)
    broken = replace(OVERTOOK, first_event_s=None, error_code="upstream_broken", lesson="failure", cost_usd_nanos=5_000)
    found = after(broken, failed)
    assert found["hedges_finished_total", "smart", "none"] == 1
    assert found["hedge_wasted_usd_total", "reported", "smart"] == 5e-06
    refused = after(replace(broken, usage=None, cost_usd_nanos=0), failed)
    assert not [key for key in refused if "wasted" in key[0]]


def test_a_retry_is_counted_by_the_failure_before_it_whoever_else_was_closed_in_between() -> None:
    failed = replace(ATTEMPT, duration_s=0.1, lesson="failure", error_code="upstream_error", status=500, usage=None)
    again = replace(ATTEMPT, number=2, role="retry", target=DEEP, started_at=1000.5, first_event_s=2.0, duration_s=3.0)
    closed = replace(OVERTOOK, number=3, target=FAST, started_at=1001.5, duration_s=0.6, first_event_s=None)
    assert {key: count for key, count in after(failed, closed, again).items() if "hedge" not in key[0]} == {
        ("retries_total", "http_5xx", "smart"): 1,
        ("fallbacks_total", "http_5xx", "smart", "p2/deep"): 1,
    }


def test_what_went_elsewhere_for_want_of_room_is_a_fallback_and_no_retry() -> None:
    elsewhere = replace(ATTEMPT, role="retry", target=DEEP)
    assert after(elsewhere) == {}, "one attempt, nothing decided"
    words = (Decision(1000.0, "rate_limit_exceeded: falls back to 'deep'"),)
    assert after(elsewhere, decisions=words) == {("fallbacks_total", "no_permit", "smart", "p2/deep"): 1}


def test_a_plan_that_began_at_a_fallback_is_one() -> None:
    plan = Plan("single", ((DEEP,),), "too many wait", fallbacks=(("overload", "deep"),))
    words = (Decision(1000.0, "p2/deep was first"),)
    begun_late = replace(OUTCOME, plan=plan, attempts=(replace(ATTEMPT, target=DEEP),), decisions=words)
    assert moved(scrape(metrics(begun_late)), *HEDGES) == {("fallbacks_total", "no_permit", "smart", "p2/deep"): 1}


@pytest.mark.parametrize("kind", NO_HEDGE.values or ())
def test_what_kept_a_late_call_from_a_hedge_is_counted(kind: str) -> None:
    found = after(ATTEMPT, decisions=(Decision(1001.0, "no hedge", spared=Spared("hedge", kind)),))  # type: ignore[arg-type]  # each of the list
    expected: dict[tuple[str, ...], float] = {("hedges_suppressed_total", kind, "smart"): 1}
    if kind == "attempt_budget":
        expected["attempt_budget_refused_total", "hedge"] = 1
    assert found == expected


def test_a_retry_without_an_allowance_is_counted_once() -> None:
    words = Decision(1001.0, "no further attempt", spared=Spared("retry", "attempt_budget"))
    assert after(ATTEMPT, decisions=(words,)) == {("attempt_budget_refused_total", "retry"): 1}


def test_roles_and_what_served_a_call_have_labels_of_their_own() -> None:
    found = scrape(metrics(replace(OUTCOME, attempts=(HUNG, OVERTOOK), served_by="hedge")))
    assert value(found, "upstream_attempts_total", target="p2/deep", role="hedge", result="ok") == 1
    assert value(found, "time_to_first_token_seconds_count", route="smart", served_by="hedge") == 1
    assert "none" not in (SERVED_BY.values or ())


def test_delays_and_the_allowance_are_read_when_asked_for() -> None:
    made, armed_s, left = metrics(), {"elsewhere": 9.0}, [1.0]
    made.races.watch(["smart"], armed_s, lambda: left[0])
    assert value(scrape(made), "hedge_delay_seconds", route="smart") == 0
    armed_s["smart"], left[0] = 0.4, 0.25
    found = scrape(made)
    assert value(found, "hedge_delay_seconds", route="smart") == 0.4
    assert value(found, "attempt_budget_remaining_ratio") == 0.25


def test_workers_add_up_and_the_least_allowance_and_longest_delay_are_shown() -> None:
    total = metrics()
    merger = Merger(total.table)
    for slot, (left, delay_s) in enumerate([(0.5, 0.2), (0.9, 0.7)]):
        worker = metrics(replace(OUTCOME, attempts=(HUNG, OVERTOOK)))
        worker.races.watch(["smart"], {"smart": delay_s}, lambda left=left: left)  # type: ignore[misc]
        merger.add(slot, Sender(worker.table).changes())
    found = scrape(total)
    assert value(found, "hedges_finished_total", route="smart", winner="hedge") == 2
    assert value(found, "hedge_wasted_usd_total", route="smart", basis="reported") == pytest.approx(4e-06)
    assert value(found, "attempt_budget_remaining_ratio") == 0.5
    assert value(found, "hedge_delay_seconds", route="smart") == 0.7


def test_a_route_that_a_client_made_up_is_other() -> None:
    made_up: Outcome = replace(OUTCOME, call=replace(CALL, route="made-up"), attempts=(HUNG, OVERTOOK))
    assert moved(scrape(metrics(made_up)), "hedges_fired_total") == {("hedges_fired_total", "other"): 1}
