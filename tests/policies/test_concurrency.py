"""Nothing is limited without a reason; what is limited follows what the target can bear, and grows only when used."""

from __future__ import annotations

from math import exp, inf, log
from random import Random

import pytest

from policies.concurrency import (
    CUT_EVERY_S,
    MOST,
    SAMPLES,
    START,
    Adaptive,
    Explained,
    Measured,
    Mode,
    Refusals,
    adaptive,
)
from policies.provider_limits import TargetLimits, TargetRules
from policies.rate_limit import Account, Rates

NOW = 1000.0


def answer(learner: Adaptive, count: int, ratio: float = 1.0, running: int = 10_000) -> None:
    for _ in range(count):
        learner.answered(ratio, Explained(1.0, max(1.0, ratio)), running)


@pytest.mark.parametrize("learner", [Measured(), Refusals()])
def test_without_a_reason_there_is_no_limit(learner: Adaptive) -> None:
    answer(learner, 1_000)
    assert learner.limit == inf


def test_an_engine_that_gets_slow_is_sent_less_until_it_is_not() -> None:
    learner = Measured()
    answer(learner, 5 * SAMPLES, ratio=4.0, running=100)
    assert learner.limit < 60
    low = learner.limit
    answer(learner, 5 * SAMPLES, ratio=1.0, running=100)
    assert learner.limit > low


def test_one_step_is_a_fifth_down_or_a_twentieth_up_and_one_in_a_hundred() -> None:
    learner = Measured()
    answer(learner, 10 * SAMPLES, ratio=100.0, running=1)
    assert learner.limit == 1.0, "never less than one"
    learner.limit = 100.0
    answer(learner, SAMPLES, ratio=100.0)
    assert learner.limit == pytest.approx(81.0)
    answer(learner, 10 * SAMPLES, ratio=0.1)
    learner.limit = 100.0
    answer(learner, SAMPLES, ratio=0.1)
    assert learner.limit == pytest.approx(106.0)


def test_a_ratio_of_a_third_above_the_prediction_is_where_it_settles() -> None:
    learner = Measured()
    answer(learner, 20 * SAMPLES, ratio=1.3)
    learner.limit = 100.0
    answer(learner, SAMPLES, ratio=1.3)
    assert learner.limit == pytest.approx(101.0, abs=0.2)


def test_short_prompts_behind_long_ones_do_not_rule_it() -> None:
    learner = Measured()
    for _ in range(500):
        learner.answered(4.0, Explained(4.0, 4.0), 50)
        learner.answered(0.4, Explained(0.01, 0.4), 50)
    assert learner.limit == inf, "forty times what was foreseen, but a tenth of all that was waited for"


@pytest.mark.parametrize("seed", range(10))
def test_stragglers_are_no_sign_of_a_crowd(seed: int) -> None:
    """Log-normal first events, 3 % of them ten times as late, which count as four in what is foreseen."""
    learner, rng = Measured(), Random(seed)
    usual_s = 0.2 * exp(0.35**2 / 2) * (0.97 + 4 * 0.03)
    for _ in range(10_000):
        took_s = rng.lognormvariate(log(0.2), 0.35) * (10.0 if rng.random() < 0.03 else 1.0)
        learner.answered(took_s, Explained(usual_s, usual_s), rng.randrange(1, 9))
    assert learner.limit == inf


@pytest.mark.parametrize("learner", [Measured(), Refusals(START)])
def test_a_rare_time_out_is_the_fault_of_something_else(learner: Adaptive) -> None:
    before = learner.limit
    answer(learner, 49, running=1)
    for number in range(100):
        assert not learner.timed_out(20, NOW + 10 * number)
        answer(learner, 49, running=1)
    assert learner.limit == before
    cuts = [learner.timed_out(20, NOW + 2_000 + number) for number in range(8)]
    assert cuts == [False] * 5 + [True] * 3, "when they are all that comes"


def test_without_a_prediction_nothing_is_learned() -> None:
    learner = Measured()
    for _ in range(200):
        assert not learner.answered(50.0, None, 10)
        assert not learner.answered(50.0, Explained(0.0, 0.0), 10)
    assert learner.limit == inf


def test_refusals_take_three_tenths_off_and_at_most_once_a_second() -> None:
    learner = Refusals()
    assert learner.refused(100, NOW)
    assert learner.limit == pytest.approx(70.0)
    assert not learner.refused(100, NOW + CUT_EVERY_S / 2)
    assert learner.refused(100, NOW + CUT_EVERY_S)
    assert learner.limit == pytest.approx(49.0)
    for second in range(2, 40):
        learner.refused(100, NOW + second)
    assert learner.limit == 1.0


def test_a_first_refusal_of_a_few_calls_leaves_room_for_what_is_started_with() -> None:
    learner = Refusals()
    learner.refused(1, NOW)
    assert learner.limit == pytest.approx(0.7 * START)
    assert "11.2" in repr(learner)


def test_successes_add_one_by_one_up_to_a_bound() -> None:
    learner = Refusals(START)
    answer(learner, SAMPLES - 1)
    assert learner.limit == START
    answer(learner, 1)
    assert learner.limit == START + 1
    answer(learner, 1_000 * SAMPLES)
    assert learner.limit == MOST


@pytest.mark.parametrize("learner", [Measured(), Refusals()])
def test_a_limit_that_is_not_used_does_not_grow(learner: Adaptive) -> None:
    learner.limit = 100.0
    answer(learner, 50 * SAMPLES, running=49)
    assert learner.limit == 100.0
    answer(learner, SAMPLES, running=50)
    assert learner.limit > 100.0


@pytest.mark.parametrize(("mode", "limit"), [(None, None), ("measured", inf), ("refusals", inf), ("started", 8.0)])
def test_what_is_started_with_is_shared_among_processes(mode: Mode | None, limit: float | None) -> None:
    learner = adaptive(mode, 0.5)
    assert (None if learner is None else learner.limit) == limit


def test_only_a_limit_that_holds_from_the_start_is_one_before_the_first_call() -> None:
    assert not TargetRules(adaptive={"p": "measured", "q": "refusals"}).any
    assert TargetRules(adaptive={"p": "started"}).any


# --- in the room of a target


def room(mode: Mode, own: Rates | None = None) -> TargetLimits:
    account = Account("target:p/a", own or Rates(), 1.0)
    return TargetLimits(account, Account("provider:p", Rates(), 1.0), adaptive(mode, 1.0))


def test_the_tighter_of_what_is_learned_and_what_is_configured_holds() -> None:
    there = room("started", Rates(concurrency=5))
    assert there.own.concurrency == 5
    for second in range(9):
        there.timed_out(NOW + second)
    assert there.own.concurrency == 1
    there.own.change(Rates(), NOW)
    assert there.own.concurrency == 1, "what was learned outlives a reload"
    there.adapt(None)
    assert there.own.concurrency == inf
    assert not there.answered(1.0, Explained(1.0, 1.0))
    assert not there.timed_out(NOW)


def test_a_learned_limit_is_said_to_those_who_meet_it() -> None:
    there = room("refusals")
    assert not there.limited
    there.timed_out(NOW)
    assert there.limited
    assert not there.idle(NOW), "it would be lost"
    for _ in range(11):
        there.take(0, NOW)
    (shortage,) = there.shortages(0, NOW)
    assert (shortage.kind, shortage.limit) == ("concurrency", 11)


def test_while_calls_wait_there_for_one_another_the_limit_hardly_grows() -> None:
    learner = Measured()
    answer(learner, 10 * SAMPLES, ratio=100.0, running=10)
    learner.limit = 100.0
    learner._seen_s = learner._predicted_s = learner._alone_s = 0.0
    for _ in range(SAMPLES):
        learner.answered(2.0, Explained(2.0, 0.2), 100)  # just as foreseen, because so many stand before it
    assert learner.limit == pytest.approx(101.0)
    learner.timed_out(100, NOW)
    learner.limit = 100.0
    learner._excuses = 0.0
    for _ in range(SAMPLES):
        learner.answered(2.0, Explained(2.0, 0.2), 100)
    assert learner.limit == pytest.approx(100.0), "and not at all where time-outs are fresh"


def test_a_limit_that_time_outs_have_set_grows_again_where_nobody_can_foresee_anything() -> None:
    learner = Measured()
    learner.timed_out(20, NOW)
    low = learner.limit
    for _ in range(3 * SAMPLES):
        learner.answered(0.2, None, 100)
    assert learner.limit == low + 3


@pytest.mark.parametrize("capacity", [4, 30, 120])
def test_a_vendor_that_refuses_above_its_capacity_is_used_well_and_refuses_little(capacity: int) -> None:
    """Calls of a second each; there is always more to do."""
    there, refused, served, rng, now = room("started"), 0, 0, Random(1), NOW
    ends: list[float] = []
    shut_until = NOW
    while now < NOW + 600:
        now += 0.01
        while ends and ends[0] <= now:
            ends.pop(0)
            there.release()
            there.answered(1.0, None)
            served += 1
        while not there.full and now >= shut_until:
            there.take(0, now)
            if len(ends) >= capacity:
                refused += 1
                there.refused(0.5, now)
                there.release()
                shut_until = now + 0.5
                break
            ends.append(now + 1.0 + 0.001 * rng.random())
            ends.sort()
    assert served >= 0.75 * capacity * 600
    assert refused <= 0.05 * served
