"""An attempt is counted once, for what it was, against its target; a refused key is counted against its provider."""

from __future__ import annotations

from random import Random

import pytest

from policies.breaker_state import Breaker, Transition
from policies.breaker_watch import Vendor, Watch, weight_of
from proxy.types import Lesson

NOW = 1000.0
RNG = Random(1)


class House:
    """One provider whose transitions are heard."""

    def __init__(self) -> None:
        self.vendor = Vendor("p")
        self.heard: list[tuple[str, str, str]] = []
        for name in ("p/a", "p/b"):
            self.vendor.targets[name] = Breaker(name)

    def watch(self, name: str = "p/a") -> Watch:
        return Watch(self.vendor.targets[name], self.vendor, self._turned)

    def refuse(self, name: str) -> None:
        self.watch(name).ended("failure", "upstream_auth", now=NOW, rng=RNG)

    def answer(self, name: str) -> None:
        self.watch(name).ended("success", None, now=NOW, rng=RNG)

    def _turned(self, turned: Transition, breaker: Breaker, vendor: Vendor) -> None:
        assert vendor is self.vendor
        self.heard.append((turned.name, turned.to, turned.reason))


@pytest.mark.parametrize(
    ("lesson", "code", "weight"),
    [
        ("failure", "upstream_error", 1.0),
        ("failure", "upstream_quota", 1.0),
        ("overload", "upstream_timeout", 0.5),
        ("overload", "upstream_error", 0.5),
        ("overload", "upstream_overloaded", 0.0),
        ("ignore", "client_closed", 0.0),
        ("success", None, 0.0),
    ],
)
def test_faults_weigh_by_what_they_prove(lesson: Lesson, code: str | None, weight: float) -> None:
    assert weight_of(lesson, code) == weight


def test_a_success_counts_at_its_first_event_and_once() -> None:
    house = House()
    watch, window = house.watch(), house.vendor.targets["p/a"].window
    watch.answered(NOW)
    assert (window.events, window.bad) == (1, 0.0)
    watch.answered(NOW)
    watch.ended("success", None, now=NOW, rng=RNG)
    watch.ended("failure", "upstream_broken", now=NOW, rng=RNG)
    assert (window.events, window.bad) == (1, 0.0)
    assert "ended=True" in repr(watch)
    assert "0 of 1 out" in repr(house.vendor)


def test_a_stream_that_breaks_counts_against_its_target() -> None:
    house = House()
    watch, window = house.watch(), house.vendor.targets["p/a"].window
    watch.answered(NOW)
    watch.ended("failure", "upstream_broken", now=NOW, rng=RNG)
    assert (window.events, window.bad) == (2, 1.0)


@pytest.mark.parametrize(("lesson", "code"), [("ignore", None), ("overload", "upstream_overloaded")])
def test_what_is_nobodys_fault_is_not_counted_but_gives_its_trial_back(lesson: Lesson, code: str | None) -> None:
    house = House()
    breaker = house.vendor.targets["p/a"]
    breaker.trip("consecutive", None, now=NOW, rng=RNG)
    breaker.admit("probe_ok", NOW)
    watch = house.watch()
    assert breaker.trials == 1
    watch.ended(lesson, code, now=NOW, rng=RNG)
    assert (breaker.trials, breaker.state, breaker.successes, house.heard) == (0, "half_open", 0, [])


def test_a_refused_credential_takes_the_target_and_the_key_out_at_once_and_once() -> None:
    house = House()
    together = [house.watch("p/a"), house.watch("p/a"), house.watch("p/b")]
    for watch in together:
        watch.ended("failure", "upstream_auth", now=NOW, rng=RNG)
    house.refuse("p/a")  # asked for want of a better one
    assert house.heard == [("p/a", "open", "auth"), ("p", "open", "auth"), ("p/b", "open", "auth")]
    assert house.vendor.key.doublings == 1


def test_a_model_that_is_forbidden_does_not_take_the_key_out_again_and_again() -> None:
    house = House()
    house.refuse("p/a")
    for breaker in (house.vendor.key, house.vendor.targets["p/a"]):
        breaker.wake(breaker.retry_at)
    for _ in range(3):
        house.answer("p/b")
    house.heard.clear()
    house.refuse("p/a")
    assert house.heard == [("p/a", "open", "auth")]
    assert house.vendor.key.state == "closed"


def test_a_key_that_is_refused_while_it_is_tried_goes_out_for_longer() -> None:
    house = House()
    house.refuse("p/a")
    house.vendor.key.wake(house.vendor.key.retry_at)
    house.refuse("p/b")
    assert (house.vendor.key.state, house.vendor.key.doublings) == ("open", 2)


def test_a_refusal_from_before_says_nothing_of_a_key_that_is_being_tried() -> None:
    house = House()
    old = house.watch("p/b")
    house.refuse("p/a")
    house.vendor.key.wake(house.vendor.key.retry_at)
    old.ended("failure", "upstream_auth", now=NOW, rng=RNG)
    assert (house.vendor.key.state, house.vendor.targets["p/b"].state) == ("half_open", "open")
