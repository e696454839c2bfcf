"""Made-up prompts are as long as the recorded ones and begin alike where those did."""

from __future__ import annotations

import pytest
from msgspec import json

from proxy.dialects.openai_request import read
from proxy.simulate.cards import Cards, body
from tests.proxy.simulate.samples import asked, runs


def dealt() -> Cards:
    cards = Cards()
    cards.deal(runs(2, 3), 1)
    return cards


def text(raw: bytes) -> str:
    return str(json.decode(raw)["messages"][0]["content"])


def test_a_prompt_has_the_recorded_length_and_the_beginning_of_the_one_before() -> None:
    cards, (first, second) = dealt(), runs(2, 3)[0].calls[:2]
    one, other = (text(body(each, cards.of(each), "m")) for each in (first, second))
    assert (len(one), len(other)) == (4 * first.tokens, 4 * second.tokens)
    same = 4 * 64 * (first.tokens // 64 - 1)
    assert one[:same] == other[:same]


def test_prompts_of_different_runs_have_nothing_in_common() -> None:
    cards, (one, other) = dealt(), (run.calls[0] for run in runs(2, 3))
    assert text(body(one, cards.of(one), "m"))[:64] != text(body(other, cards.of(other), "m"))[:64]
    assert not set(cards.of(one).blocks) & set(cards.of(other).blocks)


def test_a_request_is_known_by_its_card_whatever_was_added_to_it() -> None:
    cards, first = dealt(), runs(2, 3)[0].calls[0]
    raw = body(first, cards.of(first), "m")
    assert read("chat", raw, "application/json").stream
    assert cards.read(raw[:-1] + b',"max_tokens":5}') is cards.of(first)
    assert cards.read(b'{"model":"m"}') is None
    assert cards.read(b"#999999#") is None


def test_luck_is_of_the_question_and_the_seed() -> None:
    lucks = []
    for seed in (1, 1, 2):
        cards = Cards()
        cards.deal(runs(2, 3), seed)
        lucks.append([cards.of(call).luck for run in runs(2, 3) for call in run.calls])
    assert lucks[0] == lucks[1] != lucks[2]
    assert len(set(lucks[0])) == 6


def test_equal_questions_have_one_card_and_others_must_be_dealt_one() -> None:
    cards = Cards()
    cards.deal([*runs(1, 1), *runs(1, 1)], 1)
    assert repr(cards) == "Cards(1)"
    with pytest.raises(KeyError):
        cards.of(asked(9_999))
