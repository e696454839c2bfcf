from __future__ import annotations

import json

import pytest

from policies.grading import ANSWER_CHARS_MAX, QUESTION_CHARS_MAX, asked, mark, written
from proxy.observed import Said, ToolCall


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("9", 0.9),
        (" 10.", 1.0),
        ("0", 0.0),
        ("7.5", 0.75),
        ("I give it 8", 0.8),
        ("eight", None),
        ("", None),
        ("95", None),
    ],
)
def test_a_mark_is_the_first_number(text: str, found: float | None) -> None:
    assert mark(text) == found


def test_a_judge_is_asked_by_the_rubric_and_sees_texts_as_material() -> None:
    body = json.loads(asked("big", 'Is it {"right"}?', "[the question]", Said("the answer")))
    system, user = body["messages"]
    assert 'Is it {"right"}?' in system["content"]
    assert json.loads(user["content"]) == {"conversation": "[the question]", "answer": "the answer"}
    assert (body["model"], body["temperature"]) == ("big", 0)


def test_of_long_texts_the_end_of_the_conversation_and_the_beginning_of_the_answer_are_shown() -> None:
    body = json.loads(asked("big", "x", "a" + "b" * QUESTION_CHARS_MAX, Said("c" * ANSWER_CHARS_MAX + "d")))
    shown = json.loads(body["messages"][1]["content"])
    assert set(shown["conversation"]) == {"b"}
    assert set(shown["answer"]) == {"c"}


def test_an_answer_is_written_out_whatever_it_is_made_of() -> None:
    assert written(Said("a", (ToolCall("f", "{}"),), refusal="b")) == "a\nb\nf({})"
    assert written(Said()) == ""
