"""One breaker opens on what is proven, waits longer each time, and closes on three answers of its own generation."""

from __future__ import annotations

from random import Random

import pytest

from policies.breaker_state import (
    CONSECUTIVE,
    HEALTHY_S,
    WAIT_MOST_S,
    WAIT_S,
    Breaker,
    Transition,
    Window,
    proven_share,
)

NOW = 1000.0


class High(Random):
    """Draws 0: the whole wait."""

    def random(self) -> float:
        return 0.0


def bad(breaker: Breaker, now: float = NOW, weight: float = 1.0) -> Transition | None:
    return breaker.bad(weight, breaker.generation, "upstream_error", now=now, rng=High())


def good(breaker: Breaker, now: float = NOW) -> Transition | None:
    return breaker.good(breaker.generation, now)


def opened(now: float = NOW) -> Breaker:
    breaker = Breaker("p/a")
    breaker.trip("consecutive", "upstream_error", now=now, rng=High())
    return breaker


@pytest.mark.parametrize(
    ("bad", "events", "proven"), [(7, 20, False), (8, 20, True), (30, 100, False), (31, 100, True), (5.0, 20, False)]
)
def test_a_quarter_is_proven_only_by_enough_calls(bad: float, events: int, proven: bool) -> None:
    assert (proven_share(bad, events) > 0.25) is proven


def test_five_failures_in_a_row_open_it_and_a_success_between_them_does_not() -> None:
    breaker = Breaker("p/a")
    for _ in range(CONSECUTIVE - 1):
        assert bad(breaker) is None
    assert good(breaker) is None
    for _ in range(CONSECUTIVE - 1):
        assert bad(breaker) is None
    turned = bad(breaker)
    assert turned == Transition("p/a", "open", "consecutive", "upstream_error", WAIT_S)
    assert "open" in repr(breaker)


def test_a_share_that_is_bad_opens_it_though_never_five_in_a_row() -> None:
    breaker, turned, calls = Breaker("p/a"), None, 0
    while turned is None and calls < 40:
        calls += 1
        turned = bad(breaker) if calls % 2 else good(breaker)
    assert turned is not None
    assert (turned.reason, calls) == ("error_rate", 21), "a success opens nothing, and 20 calls are the least"


def test_half_faults_prove_half_as_much() -> None:
    breaker = Breaker("p/a")
    for number in range(400):
        turned = bad(breaker, weight=0.5) if number % 2 else good(breaker)
        assert turned is None, "half of all calls, half a fault each: a quarter, which is allowed"


def test_what_is_older_than_a_minute_is_forgotten() -> None:
    window = Window()
    for second in range(100):
        window.add(1.0, NOW + second)
    assert (window.events, window.bad) == (60, 60.0)
    window.add(0.0, NOW + 129.5)
    assert (window.events, window.bad) == (31, 30.0)
    assert window.share(NOW + 130.5) == pytest.approx(29 / 30)
    assert window.share(NOW + 10_000) == 0.0
    assert window.events == 0


def test_waits_double_up_to_a_cap_and_are_never_longer_than_said() -> None:
    breaker, waits, now = Breaker("p/a"), list[float](), NOW
    for _ in range(9):
        waits.append(breaker.trip("trial_failed", None, now=now, rng=High()).wait_s)
        now += waits[-1]
        assert breaker.wake(now - 0.001) is None
        assert breaker.wake(now) == Transition("p/a", "half_open", "waited")
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    rng = Random(1)
    drawn = [breaker.trip("trial_failed", None, now=now, rng=rng).wait_s for _ in range(1_000)]
    assert 0.8 * WAIT_MOST_S <= min(drawn) < 0.81 * WAIT_MOST_S < 0.99 * WAIT_MOST_S < max(drawn) <= WAIT_MOST_S


def test_ten_healthy_minutes_forgive_one_doubling() -> None:
    breaker, now = opened(), NOW
    breaker.trip("trial_failed", None, now=now, rng=High())
    breaker.trip("trial_failed", None, now=now, rng=High())  # the next wait would be 40 s
    breaker.admit("probe_ok", now)
    for _ in range(3):
        good(breaker, now)
    assert breaker.state == "closed"
    turned = breaker.trip("consecutive", None, now=now + 2 * HEALTHY_S, rng=High())
    assert turned.wait_s == 10.0


def test_three_successes_close_it_and_everything_begins_anew() -> None:
    breaker = opened()
    breaker.wake(NOW + WAIT_S)
    assert good(breaker) is None
    assert good(breaker) is None
    assert good(breaker, NOW + 6) == Transition("p/a", "closed", "trial_ok", "upstream_error")
    assert (breaker.closed_at, breaker.window.events, breaker.in_a_row) == (NOW + 6, 0, 0)


def test_one_failure_while_half_open_opens_it_again() -> None:
    breaker = opened()
    breaker.wake(NOW + WAIT_S)
    good(breaker)
    good(breaker)
    turned = bad(breaker, NOW + 6, weight=0.5)
    assert turned is not None
    assert (turned.to, turned.reason, turned.wait_s) == ("open", "trial_failed", 2 * WAIT_S)


def test_what_began_under_an_older_generation_tells_nothing() -> None:
    breaker = Breaker("p/a")
    old = breaker.generation
    breaker.trip("consecutive", None, now=NOW, rng=High())
    breaker.wake(NOW + WAIT_S)
    assert breaker.bad(1.0, old, "upstream_error", now=NOW + 6, rng=High()) is None
    assert (breaker.state, breaker.code) == ("half_open", None)
    for _ in range(5):
        assert breaker.good(old, NOW + 6) is None
    assert breaker.state == "half_open"


def test_who_was_asked_for_want_of_a_better_closes_by_answering_and_is_not_punished_for_failing() -> None:
    breaker = opened()
    until = breaker.retry_at
    good(breaker)
    good(breaker)
    assert bad(breaker) is None
    assert (breaker.state, breaker.retry_at) == ("open", until)
    turns = [good(breaker) for _ in range(3)]
    assert turns == [None, None, Transition("p/a", "closed", "trial_ok", "upstream_error")], "the failure counts"


def played(breaker: Breaker, ends: str, now: float = NOW) -> Transition | None:
    """`g`: good, `b`: bad, `h`: half as bad; the last turn."""
    turned = None
    for end in ends:
        turned = good(breaker, now) if end == "g" else bad(breaker, now, 0.5 if end == "h" else 1.0)
    return turned


@pytest.mark.parametrize(
    ("ends", "relapsed"),
    [
        ("b", True),  # three answers prove little: a target that fails a third of its calls gives them as often
        ("gggggb", True),
        ("ggggggb", False),  # one of seven may be chance
        ("ggggggbb", True),
        ("gggh", False),
        ("ggh", True),
        (20 * "g" + "bb", False),  # as many as open a breaker: it is like any other
    ],
)
def test_who_was_let_back_in_is_out_again_at_the_first_failures(ends: str, relapsed: bool) -> None:
    breaker = opened()
    breaker.wake(NOW + WAIT_S)
    played(breaker, "ggg", NOW + 6)
    assert breaker.state == "closed"
    turned = played(breaker, ends, NOW + 7)
    assert (turned is not None) is relapsed
    if turned is not None:
        assert (turned.to, turned.reason, turned.wait_s) == ("open", "relapsed", 2 * WAIT_S)


def test_who_never_was_out_is_on_no_probation() -> None:
    assert played(Breaker("p/a"), "bbbbgb") is None


@pytest.mark.parametrize(
    ("ends", "well"),
    [
        (20 * "g", True),
        (19 * "g", False),  # too few to know
        ("bb" + 18 * "g", True),  # a tenth
        ("bbb" + 17 * "g", False),
        (99 * "g" + "b", False),  # it has just failed: it may be the first failure of many
        (99 * "g" + "bg", True),
        (99 * "g" + "bbbbb", False),  # open
    ],
)
def test_who_is_well_is_known_to_fail_rarely_and_has_not_just_failed(ends: str, well: bool) -> None:
    breaker = Breaker("p/a")
    played(breaker, ends)
    assert breaker.is_well(0.1, NOW) is well
    assert not breaker.is_well(0.1, NOW + 100), "that was long ago"
