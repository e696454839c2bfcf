"""What every attempt asks the policies and tells them."""

from __future__ import annotations

from msgspec import structs

from policies.hedge import Hedge, NoHedge
from proxy.execution.steering import Steering
from proxy.types import Attempt, Call, Head, Lesson, Target
from tests.build import call as a_call
from tests.build import target as a_target
from tests.sim.virtual import SeededClock

ONE, TWO = a_target("one/m"), a_target("two/m")
BOTH = (ONE, TWO)


class Stopped(SeededClock):
    def __init__(self) -> None:
        super().__init__(1)
        self.at = 1_000.0

    def now(self) -> float:
        return self.at


def asked(steering: Steering, call: Call, target: Target, *, takes_s: float | None, lesson: Lesson = "success") -> None:
    clock = steering._clock
    assert isinstance(clock, Stopped)
    trip = steering.begin(call, target, "first")
    trip.asked = True
    if takes_s is not None:
        clock.at += takes_s
        steering.content(trip)
    code = None if lesson in ("success", "ignore") else "upstream_error"
    steering.end(trip, Attempt(1, "first", target, clock.at, takes_s or 0.0, lesson, error_code=code))


def test_of_a_target_that_is_nobodys_alternative_only_its_breaker_hears() -> None:
    steering, call = Steering(Stopped()), a_call()
    choice, panic = steering.choose(call, (ONE,), "score", ())
    assert (choice.target, panic) == (ONE, False)
    for _ in range(5):
        asked(steering, call, ONE, takes_s=None, lesson="failure")
    assert steering.first_tokens.of(call, ONE) is None
    assert steering.breakers.state(ONE.id) == "open"


def test_what_is_chosen_between_is_learnt_of() -> None:
    steering, call = Steering(Stopped()), a_call()
    steering.choose(call, BOTH, "score", ())
    for _ in range(60):
        asked(steering, call, ONE, takes_s=0.2)
        asked(steering, call, TWO, takes_s=2.0)
    known = steering.first_tokens.of(call, ONE)
    assert known is not None
    assert abs((known.quantile(0.5) or 0.0) - 0.2) < 0.01
    chosen = [steering.choose(call, BOTH, "score", ())[0].target for _ in range(50)]
    assert chosen.count(ONE) >= 48


def test_a_target_that_is_out_is_left_out_and_the_choice_says_why() -> None:
    steering, call = Steering(Stopped()), a_call()
    three = (ONE, TWO, a_target("three/m"))
    steering.choose(call, three, "score", ())
    for _ in range(5):
        asked(steering, call, ONE, takes_s=None, lesson="failure")
    choice, panic = steering.choose(call, three, "score", ())
    assert (choice.target in three[1:], panic) == (True, False)
    left_out = next(each for each in choice.considered if each.target == ONE.id)
    assert "too many failures in a row" in left_out.why_not


def test_a_trial_goes_to_the_target_that_waits_for_one() -> None:
    clock = Stopped()
    steering, call = Steering(clock), a_call()
    steering.choose(call, BOTH, "ordered", ())
    for _ in range(5):
        asked(steering, call, TWO, takes_s=None, lesson="failure")
    clock.at += 6.0
    choice, _ = steering.choose(call, BOTH, "ordered", ())
    assert (choice.target, choice.reason) == (TWO, "due for a trial after failures")
    assert steering.choose(call, BOTH, "ordered", (ONE,))[0].target == TWO  # a retry has nowhere else to go


def test_a_second_copy_goes_to_another_target_that_may_be_asked() -> None:
    clock = Stopped()
    call = structs.replace(a_call(), deadline=1e9, head=Head("m", stream=True, fields={}))
    steering = Steering(clock)
    steering.choose(call, BOTH, "score", ())
    for _ in range(100):
        asked(steering, call, ONE, takes_s=0.2)
        asked(steering, call, TWO, takes_s=0.2)
    trip = steering.begin(call, ONE, "first")
    clock.at += 1.0
    found = steering.hedge(trip, (TWO,), free_usd_nanos=None)
    assert isinstance(found, Hedge)
    assert found.target == TWO
    for _ in range(5):
        asked(steering, call, TWO, takes_s=None, lesson="failure")
    assert steering.hedge(trip, (TWO,), free_usd_nanos=None) == NoHedge(
        "no hedge: the other targets are out", "breaker"
    )


def test_an_attempt_that_was_given_up_counts_as_longer_than_its_age() -> None:
    clock = Stopped()
    steering, call = Steering(clock), a_call()
    steering.choose(call, BOTH, "score", ())
    for _ in range(100):
        asked(steering, call, ONE, takes_s=0.2)
    for _ in range(10):
        trip = steering.begin(call, ONE, "first")
        trip.asked = True
        clock.at += 5.0
        steering.end(trip, Attempt(1, "first", ONE, clock.at - 5.0, 5.0, "ignore"))
    known = steering.first_tokens.of(call, ONE)
    assert known is not None
    assert (known.quantile(0.97) or 0.0) >= 5.0


def test_a_call_that_waited_in_line_is_not_sent_where_half_of_its_kind_would_begin_too_late() -> None:
    steering, clock = Steering(stopped := Stopped()), stopped
    call = structs.replace(a_call(), deadline=1e9, head=Head("m", stream=True, fields={}))
    steering.choose(call, BOTH, "score", ())
    assert not steering.comes_too_late(structs.replace(call, deadline=clock.at + 0.001), ONE), "nothing is known"
    for number in range(100):
        asked(steering, call, ONE, takes_s=0.2 if number % 4 == 0 else 0.4)
    for left_s, late in ((0.3, True), (0.5, False)):
        assert steering.comes_too_late(structs.replace(call, deadline=clock.at + left_s), ONE) is late
    plain = structs.replace(call, deadline=clock.at + 0.3, head=Head("m", fields={}))
    assert not steering.comes_too_late(plain, ONE)
