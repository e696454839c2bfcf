from __future__ import annotations

import random

from policies.logprobs import KNOWN_MAX, LEAST, Logprobs


def taught(values: list[float]) -> Logprobs:
    known = Logprobs()
    for value in values:
        known.learn("a", "m", value)
    return known


def test_about_a_tenth_is_low() -> None:
    rng = random.Random(7)
    known = taught([rng.gauss(-1.0, 0.3) for _ in range(2_000)])
    low = sum(known.is_low("a", "m", rng.gauss(-1.0, 0.3)) for _ in range(2_000))
    assert 0.05 <= low / 2_000 <= 0.16


def test_it_follows_a_model_that_has_changed() -> None:
    rng = random.Random(7)
    known = taught([rng.gauss(-1.0, 0.1) for _ in range(500)] + [rng.gauss(-3.0, 0.1) for _ in range(500)])
    assert not known.is_low("a", "m", -3.0)


def test_nothing_is_low_before_enough_was_seen() -> None:
    known = taught([-1.0] * (LEAST - 1))
    assert not known.is_low("a", "m", -9.0)
    known.learn("a", "m", -1.0)
    assert known.is_low("a", "m", -9.0)


def test_agents_and_models_are_each_their_own() -> None:
    known = taught([-1.0] * LEAST)
    assert not known.is_low("b", "m", -9.0)
    assert not known.is_low("a", "n", -9.0)


def test_what_is_known_is_bounded() -> None:
    known = Logprobs()
    for at in range(KNOWN_MAX + 10):
        known.learn(str(at), "m", -1.0)
    assert f"{KNOWN_MAX} of {KNOWN_MAX}" in repr(known)
