"""Breakers in words: what is out, why, and for how long."""

from __future__ import annotations

from random import Random

import pytest

from policies.breaker import Breakers
from policies.breaker_report import alarming, rows, sentence
from policies.breaker_state import Transition
from tests.build import call, target

NOW, RNG = 1000.0, Random(1)
A, B = target("p/a"), target("q/b")


def test_a_row_says_what_is_known_of_a_target() -> None:
    breakers = Breakers()
    for _ in range(5):
        breakers.begin(B, NOW).ended("success", None, now=NOW, rng=RNG)
        breakers.begin(A, NOW).ended("failure", "upstream_error", now=NOW, rng=RNG)
    breakers.usable(call(), (A, B), NOW)
    out, well, unknown = rows(breakers, (A, B, target("r/c")), NOW + 1.0)
    assert (out.target, out.state, out.why, out.last_failure) == (
        "p/a",
        "open",
        "too many failures in a row",
        "upstream_error",
    )
    assert out.retry_s is not None
    assert 3.0 <= out.retry_s <= 4.0
    assert (out.calls, out.bad_share, out.rejected) == (5, 1.0, 1)
    assert (well.state, well.why, well.retry_s, well.calls, well.bad_share) == ("closed", "", None, 5, 0.0)
    assert (unknown.state, unknown.calls, unknown.rejected) == ("closed", 0, 0)


def test_a_row_names_the_key_or_the_provider_where_they_are_the_reason() -> None:
    breakers, others = Breakers(), [target(f"p/{name}") for name in "xyz"]
    breakers.begin(A, NOW)
    breakers.begin(B, NOW).ended("failure", "upstream_auth", now=NOW, rng=RNG)
    for each in others:
        breakers.begin(each, NOW).ended("success", None, now=NOW, rng=RNG)
        for _ in range(5):
            breakers.begin(each, NOW).ended("failure", "upstream_error", now=NOW, rng=RNG)
    suffering, refused = rows(breakers, (A, target("q/other")), NOW)
    assert suffering.why == "3 of its provider's 3 targets are out"
    assert (refused.state, refused.why) == ("open", "the gate's credential was refused")
    breakers.readmit(NOW)
    assert rows(breakers, (B,), NOW)[0].why == "it is being tried again"


@pytest.mark.parametrize(
    ("transition", "said", "alarm"),
    [
        (
            Transition("p", "open", "auth", "upstream_auth", 5.0),
            "the key of p is out: the gate's credential was refused; next trial in 5.0 s",
            True,
        ),
        (
            Transition("p/a", "open", "error_rate", "upstream_error", 12.34),
            "p/a is out: too many of its calls fail; next trial in 12.3 s",
            False,
        ),
        (Transition("p/a", "half_open", "probe_ok"), "p/a is being tried again", False),
        (Transition("p/a", "closed", "trial_ok"), "p/a is back", False),
    ],
)
def test_a_transition_is_a_sentence_and_some_want_an_operator(transition: Transition, said: str, alarm: bool) -> None:
    assert (sentence(transition), alarming(transition)) == (said, alarm)
