"""Sizes and kinds apart, a parent for what is rare, and a bound."""

from __future__ import annotations

import pytest
from msgspec import structs

from policies.first_token import CLASSES_MAX, KNOWN_LEAST, FirstTokens
from proxy.types import Call, Head
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


def test_classes_are_bounded() -> None:
    known = FirstTokens()
    for number in range(CLASSES_MAX):
        known.learn(sized(100), build.target(f"a/m{number}"), 0.2, 0.0)
    assert repr(known) == f"FirstTokens({CLASSES_MAX} classes)"
    assert known.of(sized(100), build.target("a/m0")) is None
