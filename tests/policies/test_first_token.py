"""Sizes and kinds apart, a parent for what is rare, and a bound."""

from __future__ import annotations

import pytest
from msgspec import structs

from policies.first_token import CLASSES_MAX, KNOWN_LEAST, SHAPE_MOST, USUAL_LEAST, FirstTokens
from policies.quantiles import Quantiles
from proxy.types import Call, Head, Target
from tests import build

TARGET = build.target("a/m")


def sized(tokens: int, stream: bool = True) -> Call:
    return structs.replace(build.call(head=Head(model="m", stream=stream, fields={})), input_tokens_estimate=tokens)


def median(known: FirstTokens, call: Call) -> float | None:
    found = known.of(call, TARGET)
    return None if found is None else found.quantile(0.5)


def test_an_unknown_target_is_unknown() -> None:
    assert FirstTokens().of(sized(100), TARGET) is None


def test_a_size_is_its_own_once_it_is_known_and_its_targets_before() -> None:
    known = FirstTokens()
    for _ in range(200):
        known.learn(sized(100), TARGET, 0.2, 0.0)
    for _ in range(KNOWN_LEAST - 1):
        known.learn(sized(50_000), TARGET, 5.0, 0.0)
    assert median(known, sized(50_000)) == pytest.approx(0.2, rel=0.04)
    known.learn(sized(50_000), TARGET, 5.0, 0.0)
    assert median(known, sized(50_000)) == pytest.approx(5.0, rel=0.04)
    assert median(known, sized(40_000)) == pytest.approx(5.0, rel=0.04)  # of the same octave
    assert median(known, sized(100)) == pytest.approx(0.2, rel=0.04)


def test_plain_replies_and_streams_are_learnt_apart() -> None:
    known = FirstTokens()
    known.learn(sized(100), TARGET, 0.2, 0.0)
    assert known.of(sized(100, stream=False), TARGET) is None


def test_what_was_given_up_counts_above_its_age() -> None:
    known = FirstTokens()
    for _ in range(60):
        known.learn(sized(100), TARGET, 0.2, 0.0)
    for _ in range(60):
        known.censored(sized(100), TARGET, 1.0, 0.0)
    found = known.of(sized(100), TARGET)
    assert found is not None
    assert (found.count, found.share_below(1.0)) == (120.0, 0.5)


def taught(share: float = 0.05) -> FirstTokens:
    """A thousand calls of a provider's model, of which a share took ten times as long."""
    known, other = FirstTokens(), build.target("a/other")
    for number in range(1_000):
        known.learn(sized(100), other, 2.0 if number % round(1 / share) == 7 else 0.2, 0.0)
        if number == USUAL_LEAST:
            known.tail(sized(100), other)
    return known


def tail(known: FirstTokens, call: Call, target: Target = TARGET) -> Quantiles:
    found = known.tail(call, target)
    assert found is not None
    return found


def test_a_tail_is_that_of_the_provider_until_a_class_has_its_own() -> None:
    known = taught()
    for _ in range(10):
        known.learn(sized(50_000), TARGET, 5.0, 0.0)
    found = tail(known, sized(50_000))
    assert found.quantile(0.5) == pytest.approx(5.0, rel=0.05)
    assert found.quantile(0.99) == pytest.approx(50.0, rel=0.05)
    assert found.share_below(40.0) == pytest.approx(0.95, abs=0.01)
    assert found.added >= SHAPE_MOST
    for _ in range(SHAPE_MOST):
        known.learn(sized(50_000), TARGET, 5.0, 0.0)
    assert tail(known, sized(50_000)).quantile(0.99) == pytest.approx(5.0, rel=0.04), "it has none"


def test_nobody_is_taught_by_another_provider_or_by_the_other_kind_of_reply() -> None:
    known, stranger = taught(), build.target("b/m")
    for call, target in ((sized(50_000), stranger), (sized(50_000, stream=False), TARGET)):
        for _ in range(10):
            known.learn(call, target, 5.0, 0.0)
        found = tail(known, call, target)
        assert found.count == 10.0
        assert found.quantile(1.0) == pytest.approx(5.0, rel=0.04)


def test_of_a_class_that_is_hardly_known_there_is_no_usual_to_go_by() -> None:
    known = taught()
    for _ in range(USUAL_LEAST - 1):
        known.learn(sized(50_000), TARGET, 5.0, 0.0)
    assert tail(known, sized(50_000)).count == USUAL_LEAST - 1
    assert known.tail(sized(50_000), build.target("b/m")) is None


def test_what_was_given_up_is_part_of_the_shape() -> None:
    known, other = taught(), build.target("a/other")
    for _ in range(100):
        known.censored(sized(100), other, 1.0, 0.0)
    for _ in range(10):
        known.learn(sized(50_000), TARGET, 5.0, 0.0)
    assert tail(known, sized(50_000)).share_below(40.0) == pytest.approx(1 - 150 / 1_100, abs=0.01)


def test_classes_are_bounded() -> None:
    known = FirstTokens()
    for number in range(CLASSES_MAX):
        known.learn(sized(100), build.target(f"a/m{number}"), 0.2, 0.0)
    assert repr(known) == f"FirstTokens({CLASSES_MAX} classes)"
    assert known.of(sized(100), build.target("a/m0")) is None
