from __future__ import annotations

import pytest
from msgspec.structs import replace

from policies.semantic import guard
from policies.semantic.answer import Answer
from policies.semantic.eligible import CHARACTERS_MAX, why_not_asked, why_not_looked_up, why_not_stored
from policies.semantic.rules import DAY_S, SemanticRules
from policies.semantic.scope import Question
from proxy.reuse import Reuse
from proxy.types import Plan
from tests.policies.semantic.test_scope import PLAIN, call

RULES = SemanticRules("e")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, None),
        ({"temperature": 0.0}, None),
        ({"seed": None}, None),
        ({"temperature": 0.1}, "its temperature is not 0"),
        ({"temperature": None}, "its temperature is not 0"),
        ({"seed": 1}, "it has `seed`"),
        ({"logprobs": True}, "it has `logprobs`"),
        ({"modalities": ["text", "audio"]}, "it has `modalities`"),
        ({"n": 2}, "it asks for several answers"),
        ({"store": True}, "it keeps or uses state at the provider (`store`)"),
        ({"tools": [{"type": "web_search"}]}, "the provider runs its tool `web_search`"),
    ],
)
def test_where_chance_or_state_has_a_say_nothing_is_looked_up(fields: dict[str, object], why: str | None) -> None:
    assert why_not_looked_up(call({**PLAIN, **fields})) == why


def test_a_call_that_states_no_temperature_is_not_looked_up() -> None:
    assert why_not_looked_up(call({"model": "m", "messages": PLAIN["messages"]})) == "its temperature is not 0"


@pytest.mark.parametrize("says", [Reuse(read=False), Reuse(semantic=False)])
def test_a_caller_may_want_none(says: Reuse) -> None:
    assert why_not_looked_up(replace(call(PLAIN), reuse=says)) == "the caller wants none"


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("what is this", True),
        ("", False),
        ("x" * CHARACTERS_MAX, True),
        ("x" * (CHARACTERS_MAX + 1), False),
        ("What is the weather today?", False),
        ("Who is the CURRENT president", False),
        ("the latest news", False),
        ("what happened last week", False),
        ("how to know the nowhere man", True),
    ],
)
def test_questions_of_the_present_need_a_life_of_their_own(text: str, asked: bool) -> None:
    question = Question(text, b"", guard.read(text))
    assert (why_not_asked(question, RULES) is None) == asked
    lasting = SemanticRules("e", ttl_s=60.0)
    assert (why_not_asked(question, lasting) is None) == (0 < len(text) <= CHARACTERS_MAX)


def test_an_entry_lives_for_a_day_unless_it_is_told() -> None:
    assert (RULES.life_s, SemanticRules("e", ttl_s=5.0).life_s) == (DAY_S, 5.0)


BODY = b'{"choices":[{"finish_reason":"stop"}]}'
GOOD = Answer("yes", finish_reason="stop", body=BODY)


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (GOOD, True),
        (Answer("yes", finish_reason="length", body=BODY), False),
        (Answer("yes", finish_reason="content_filter", body=BODY), False),
        (Answer("yes", body=BODY), False),
        (Answer("", finish_reason="stop", body=BODY), False),
        (Answer("no", finish_reason="stop", refused=True, body=BODY), False),
        (Answer("x", finish_reason="stop", calls_tools=True, body=BODY), False),
    ],
)
def test_only_whole_answers_in_words_are_stored(answer: Answer, kept: bool) -> None:
    assert (why_not_stored(call(PLAIN), None, answer, shortened=False, elsewhere=False) is None) == kept


def test_what_is_not_its_models_own_whole_answer_is_not_stored() -> None:
    degraded = Plan("single", ((),), "r", degraded=("cheaper",))
    assert why_not_stored(call(PLAIN), None, GOOD, shortened=True, elsewhere=False) is not None
    assert why_not_stored(call(PLAIN), None, GOOD, shortened=False, elsewhere=True) is not None
    assert why_not_stored(call(PLAIN), degraded, GOOD, shortened=False, elsewhere=False) is not None
