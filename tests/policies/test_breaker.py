"""Targets that fail are left out, tried again with care, and never so many of a pool that nobody is left."""

from __future__ import annotations

from random import Random

import pytest
from msgspec import structs

from policies.breaker import CHOOSY_S, FAILED_PROBES, FORSAKEN_S, Breakers
from policies.breaker_state import Transition
from proxy.types import Call, Target
from tests.build import call, target

NOW = 1000.0
RNG = Random(1)
A, B, C = target("p/a"), target("q/b"), target("r/c")
CALL = call()
LONG = structs.replace(CALL, input_tokens_estimate=8_000)
CRITICAL = structs.replace(CALL, priority="critical")


def fail(breakers: Breakers, *targets: Target, code: str = "upstream_error", times: int = 5, now: float = NOW) -> None:
    for each in targets:
        for _ in range(times):
            breakers.begin(each, now).ended("failure", code, now=now, rng=RNG)


def answer(breakers: Breakers, target: Target, times: int = 3, now: float = NOW) -> None:
    for _ in range(times):
        breakers.begin(target, now).ended("success", None, now=now, rng=RNG)


def half_open(target: Target = A) -> Breakers:
    breakers = Breakers()
    fail(breakers, target)
    breakers.probe_passed(target.provider, NOW)
    assert breakers.state(target.id) == "half_open"
    return breakers


def test_a_target_that_fails_is_left_out_and_says_why() -> None:
    heard: list[Transition] = []
    breakers = Breakers(heard.append)
    assert breakers.why_not(CALL, A, NOW) is None
    fail(breakers, A)
    assert (breakers.why_not(CALL, A, NOW) or "").startswith("too many failures in a row; next trial in ")
    assert breakers.why_not(CALL, B, NOW) is None
    assert breakers.usable(CALL, (A, B), NOW) == ((B,), False)
    assert [(turned.name, turned.to) for turned in heard] == [("p/a", "open")]
    assert (breakers.rejected("p/a"), breakers.rejected("p/*"), breakers.rejected("q/*")) == (1, 1, 0)
    assert "1 not closed" in repr(breakers)


def test_a_pool_is_well_where_all_of_it_that_may_be_asked_is() -> None:
    breakers = Breakers()
    assert not breakers.well(CALL, (B, C), 0.1, NOW), "nobody knows"
    answer(breakers, B, 20)
    assert breakers.well(CALL, (B,), 0.1, NOW)
    assert not breakers.well(CALL, (B, C), 0.1, NOW)
    fail(breakers, C)
    assert breakers.well(CALL, (B, C), 0.1, NOW), "who is out is not asked"
    assert not breakers.well(CALL, (C,), 0.1, NOW)
    assert not breakers.well(CALL, (), 0.1, NOW)


def test_a_limit_is_no_fault() -> None:
    breakers = Breakers()
    for _ in range(100):
        breakers.begin(A, NOW).ended("overload", "upstream_overloaded", now=NOW, rng=RNG)
    assert breakers.state("p/a") == "closed"


def test_when_its_wait_is_over_one_call_at_a_time_may_try_it() -> None:
    breakers = Breakers()
    fail(breakers, A)
    later = NOW + 5.0
    assert breakers.trial(CALL, (A, B), NOW) is None
    assert breakers.trial(CALL, (B, A), later) == A
    assert breakers.usable(CALL, (A, B), later) == ((A, B), False)
    trial = breakers.begin(A, later)
    assert breakers.why_not(CALL, A, later) == "a trial is running"
    assert breakers.trial(CALL, (A, B), later) is None
    assert breakers.usable(CALL, (A, B), later) == ((B,), False)
    trial.answered(later)
    assert breakers.trial(CALL, (A, B), later) == A, "its first event is enough to try again"
    trial.ended("success", None, now=later, rng=RNG)
    answer(breakers, A, 2, later)
    assert breakers.state("p/a") == "closed"
    assert breakers.closed_at(A) == later
    assert breakers.closed_at(B) is None
    assert not breakers.troubled


@pytest.mark.parametrize("dear", [LONG, CRITICAL])
def test_dear_calls_make_no_trial_while_others_may_come(dear: Call) -> None:
    breakers = half_open()
    assert breakers.why_not(dear, A, NOW)
    assert breakers.trial(dear, (A, B), NOW) is None
    assert breakers.usable(dear, (A, B), NOW) == ((B,), False)
    assert breakers.trial(dear, (A, B), NOW + CHOOSY_S) == A, "nobody else came, and it must not stay out for ever"
    breakers.begin(A, NOW + CHOOSY_S).ended("success", None, now=NOW + CHOOSY_S, rng=RNG)
    assert breakers.why_not(dear, A, NOW + CHOOSY_S), "somebody came"


def test_nobody_is_tried_before_the_only_target() -> None:
    breakers = half_open()
    assert breakers.trial(CALL, (A,), NOW) is None
    assert breakers.usable(CALL, (A,), NOW) == ((A,), False)


def test_the_only_target_is_asked_whatever_became_of_it() -> None:
    breakers = Breakers()
    fail(breakers, A)
    assert breakers.usable(CALL, (A,), NOW) == ((A,), False), "its retries are bounded as ever"
    assert breakers.rejected("p/a") == 0
    assert breakers.usable(CALL, (), NOW) == ((), False)


@pytest.mark.parametrize(
    ("failed", "kept", "panic"),
    [((), (A, B, C), False), ((A,), (B, C), False), ((A, B), (C,), True), ((A, B, C), (A, B, C), True)],
)
def test_more_than_half_of_a_pool_out_is_panic(
    failed: tuple[Target, ...], kept: tuple[Target, ...], panic: bool
) -> None:
    breakers = Breakers()
    fail(breakers, *failed)
    assert breakers.usable(CALL, (A, B, C), NOW) == (kept, panic)


def test_in_panic_those_that_are_being_tried_come_before_those_that_are_out() -> None:
    breakers = half_open(A)
    fail(breakers, B)
    running = breakers.begin(A, NOW)
    assert breakers.usable(CALL, (A, B), NOW) == ((A,), True)
    running.ended("ignore", None, now=NOW, rng=RNG)


def test_answers_in_panic_bring_a_target_back() -> None:
    breakers = Breakers()
    fail(breakers, A, B)
    answer(breakers, A)
    assert breakers.usable(CALL, (A, B), NOW) == ((A,), False)


def test_a_result_from_before_tells_nothing() -> None:
    breakers = Breakers()
    old = [breakers.begin(A, NOW) for _ in range(10)]
    fail(breakers, A)
    breakers.probe_passed("p", NOW)
    for watch in old[:5]:
        watch.ended("failure", "upstream_error", now=NOW, rng=RNG)
    assert breakers.state("p/a") == "half_open"
    assert breakers.why_not(CALL, A, NOW) is None
    trial = breakers.begin(A, NOW)
    for watch in old[5:]:
        watch.ended("ignore", None, now=NOW, rng=RNG)
    assert breakers.why_not(CALL, A, NOW) == "a trial is running", "their end frees nobody's place"
    trial.ended("failure", "upstream_error", now=NOW, rng=RNG)
    assert breakers.state("p/a") == "open"


def test_three_of_four_targets_out_are_the_providers_fault() -> None:
    breakers = Breakers()
    four = [target(f"p/{name}") for name in "wxyz"]
    for each in four:
        answer(breakers, each, 1)
    fail(breakers, *four[:2])
    assert breakers.why_not(CALL, four[3], NOW) is None
    fail(breakers, four[2])
    assert breakers.why_not(CALL, four[3], NOW) == "3 of its provider's 4 targets are out"
    assert breakers.usable(CALL, (four[0], four[3]), NOW) == ((four[3],), True), "the least bad, all the same"
    assert breakers.usable(CALL, (four[3], B), NOW) == ((B,), False)
    answer(breakers, four[0])
    assert breakers.why_not(CALL, four[3], NOW) is None


def test_names_that_clients_make_up_do_not_take_a_provider_out() -> None:
    breakers = Breakers()
    answer(breakers, A)
    fail(breakers, *[target(f"p/made-up-{number}") for number in range(9)], code="upstream_model_missing")
    assert breakers.state("p/made-up-3") == "open"
    assert breakers.why_not(CALL, A, NOW) is None


def test_a_refused_key_takes_all_targets_of_its_provider_out_until_it_serves_again() -> None:
    heard: list[Transition] = []
    breakers, other = Breakers(heard.append), target("p/other")
    fail(breakers, A, code="upstream_auth", times=1)
    assert [(turned.name, turned.reason) for turned in heard] == [("p/a", "auth"), ("p", "auth")]
    why = breakers.why_not(CALL, other, NOW)
    assert (why or "").startswith("the provider's key: the gate's credential was refused; next trial in ")
    assert breakers.usable(CALL, (A, other, B), NOW) == ((B,), True)
    assert breakers.state("p/other") == "open"
    assert breakers.due_probes(NOW) == (), "a probe knows nothing of keys"
    breakers.probe_passed("p", NOW)
    assert breakers.look(A)[0].state == "open"
    assert breakers.trial(CALL, (other, B), NOW + 5.0) == other
    answer(breakers, other, 3, NOW + 5.0)
    assert breakers.state("p/other") == "closed"


def test_a_reload_gives_a_refused_key_a_trial_and_nobody_else() -> None:
    breakers = Breakers()
    fail(breakers, A, code="upstream_auth", times=1)
    fail(breakers, B)
    breakers.readmit(NOW)
    assert [breakers.state(each.id) for each in (A, B)] == ["half_open", "open"]
    answer(breakers, A)
    assert breakers.state("p/*") == "closed"


def test_a_probe_that_passes_ends_the_wait_and_proves_no_more() -> None:
    breakers = Breakers()
    assert breakers.due_probes(NOW) == ()
    fail(breakers, A, B)
    assert breakers.due_probes(NOW) == ("p", "q")
    breakers.probe_passed("p", NOW)
    breakers.probe_passed("nobody", NOW)
    assert breakers.due_probes(NOW) == ("q",)
    assert [breakers.state(each.id) for each in (A, B)] == ["half_open", "open"]


def test_probes_that_fail_in_a_row_open_what_was_closed() -> None:
    breakers = Breakers()
    answer(breakers, A, 1)
    breakers.probe_failed("nobody", now=NOW, rng=RNG)
    for _ in range(FAILED_PROBES - 1):
        breakers.probe_failed("p", now=NOW, rng=RNG)
    breakers.probe_passed("p", NOW)
    for _ in range(FAILED_PROBES - 1):
        breakers.probe_failed("p", now=NOW, rng=RNG)
    assert breakers.state("p/a") == "closed"
    breakers.probe_failed("p", now=NOW, rng=RNG)
    assert breakers.state("p/a") == "open"
    until = breakers.why_not(CALL, A, NOW)
    breakers.probe_failed("p", now=NOW, rng=RNG)
    assert breakers.why_not(CALL, A, NOW) == until


def test_the_state_of_a_wildcard_is_that_of_its_provider() -> None:
    breakers = half_open()
    assert breakers.state("p/*") == "closed"
    for name in "xy":
        answer(breakers, target(f"p/{name}"))
    fail(breakers, target("p/x"), target("p/y"), target("p/made-up"))
    assert breakers.state("p/*") == "closed", "nobody has ever heard of one of the three"
    answer(breakers, target("p/z"))
    fail(breakers, target("p/z"))
    assert breakers.state("p/*") == "open", "all three that ever answered are out"
    answer(breakers, A)
    answer(breakers, target("p/x"))
    assert breakers.state("p/*") == "closed"
    assert breakers.state("p/never-asked") == "closed"
    fail(breakers, B, code="upstream_auth", times=1)
    assert breakers.state("q/*") == breakers.state("q/never-asked") == "open"
    breakers.readmit(NOW)
    assert breakers.state("q/*") == breakers.state("q/never-asked") == "half_open"


def test_names_take_bounded_space_and_the_healthy_go_first() -> None:
    breakers = Breakers(breakers_max=4)
    fail(breakers, A)
    for number in range(50):
        answer(breakers, target(f"p/{number}"), 1)
        assert len(breakers) <= 4
    assert breakers.state("p/a") == "open"
    for number in range(50):
        fail(breakers, target(f"p/bad{number}"))
        assert len(breakers) <= 4
    assert len(breakers.troubled) <= 4


def test_what_was_forgotten_while_its_last_attempt_ran_is_heard_of_no_more() -> None:
    heard: list[Transition] = []
    breakers = Breakers(heard.append, breakers_max=1)
    running = [breakers.begin(A, NOW) for _ in range(9)]
    answer(breakers, B)
    for watch in running:
        watch.ended("failure", "upstream_error", now=NOW, rng=RNG)
    assert (heard, breakers.troubled) == ([], set())


def test_who_is_out_and_not_asked_for_is_forgotten() -> None:
    breakers = half_open()
    fail(breakers, B)
    later = NOW + FORSAKEN_S + 6.0
    assert breakers.due_probes(later) == ()
    assert (len(breakers), breakers.troubled) == (0, set())
    assert breakers.state("p/*") == "closed"
