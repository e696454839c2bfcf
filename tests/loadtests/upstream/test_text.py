from __future__ import annotations

import pytest

from loadtests.upstream.text import answer_to, output_limit

USER = {"role": "user", "content": "why"}
ASKED = {"messages": [USER]}
WHOLE = answer_to(ASKED, 10)


def continued(text: str, **more: object) -> dict[str, object]:
    begun = {"role": "assistant", "content": text}
    return {"messages": [USER, begun], "continue_final_message": True, "add_generation_prompt": False} | more


def test_equal_prompts_get_equal_answers_and_others_others() -> None:
    assert answer_to({"messages": [USER], "max_tokens": 3, "stream": True}, 10) == WHOLE
    assert answer_to({"messages": [{"role": "user", "content": "how"}]}, 10) != WHOLE
    assert answer_to({"prompt": "why"}, 10) != answer_to({"prompt": "how"}, 10)


def test_a_longer_answer_begins_as_the_shorter() -> None:
    assert answer_to(ASKED, 20).text.startswith(WHOLE.text)


@pytest.mark.parametrize("at", range(0, len(WHOLE.text) + 1, 3))
def test_a_continuation_is_the_rest_to_the_character(at: int) -> None:
    begun = WHOLE.text[:at]
    assert begun + answer_to(continued(begun), 10).text == WHOLE.text


def test_a_beginning_of_another_answer_is_followed_by_nothing() -> None:
    assert answer_to(continued("not mine"), 10).tokens == ()


@pytest.mark.parametrize("field", ["continue_final_message", "add_generation_prompt"])
def test_without_both_fields_it_is_a_new_answer(field: str) -> None:
    asked = continued(WHOLE.text[:8])
    del asked[field]
    assert len(answer_to(asked, 10).tokens) == 10
    assert not WHOLE.text.endswith(answer_to(asked, 10).text)


def test_a_limit_ends_it_with_length() -> None:
    assert (WHOLE.within(4).tokens, WHOLE.within(4).finish) == (WHOLE.tokens[:4], "length")
    assert WHOLE.within(10).finish == WHOLE.within(None).finish == "stop"
    assert [
        output_limit(asked) for asked in ({}, {"max_tokens": 5}, {"max_completion_tokens": 6, "max_tokens": 5})
    ] == [
        None,
        5,
        6,
    ]
