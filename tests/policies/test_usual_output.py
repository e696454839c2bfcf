"""The estimate of an answer's length learns quickly upwards, slowly downwards, and stays within what was asked."""

from __future__ import annotations

from random import Random

import pytest
from msgspec import structs

from policies.usual_output import KNOWN_MAX, UNKNOWN_TOKENS, UsualOutput
from proxy.types import Head, Usage
from tests.build import call


@pytest.mark.parametrize(
    ("head", "output"),
    [
        (Head("m"), UNKNOWN_TOKENS + 1),
        (Head("m", output_tokens_max=50), 50),
        (Head("m", output_tokens_max=50, choices=3), 150),
        (Head("m", output_tokens_max=10**6), UNKNOWN_TOKENS + 1),
    ],
)
def test_an_unknown_answer_is_as_long_as_it_may_be(head: Head, output: int) -> None:
    asked = call(head=head)
    assert UsualOutput().tokens(asked) == asked.input_tokens_estimate + output


def test_what_generates_nothing_is_its_input() -> None:
    asked = structs.replace(call(), endpoint="embeddings")
    assert UsualOutput().tokens(asked) == asked.input_tokens_estimate


def test_it_settles_where_most_answers_stay_below() -> None:
    usual, rng, asked = UsualOutput(), Random(1), call()
    lengths = [rng.randint(1, 1_000) for _ in range(5_000)]
    for length in lengths:
        usual.learn(asked, Usage(output=length))
    settled = usual.tokens(asked) - asked.input_tokens_estimate
    below = sum(length <= settled for length in lengths) / len(lengths)
    assert 0.7 <= below <= 0.97


def test_agents_and_models_do_not_mix_and_are_bounded() -> None:
    usual = UsualOutput()
    usual.learn(call("a"), Usage(output=10))
    usual.learn(call("b"), Usage(output=900))
    assert usual.tokens(call("a")) == 100 + 11
    assert usual.tokens(call("b")) == 100 + 901
    for number in range(KNOWN_MAX + 10):
        usual.learn(call(f"m{number}"), Usage(output=1))
    assert repr(usual) == f"UsualOutput({KNOWN_MAX} known)"
