from __future__ import annotations

import msgspec
import pytest

from policies.semantic.answer import Answer, answer_of, same

LONG = "x" * 100


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Paris", "Paris", True),
        ("Paris.", "paris", True),
        ("The answer is: Paris!", "the answer is paris", True),
        ("Paris", "Lyon", False),
        ("42", "-42", False),
        ("4.2", "42", False),
        ("3:15", "315", False),
        ("1,000", "1.000", False),
        ("50 %", "50", False),
        ('{"a": 1, "b": [2]}', '{"b":[2],"a":1}', True),
        ('```json\n{"a": 1}\n```', '{"a":1}', True),
        ('{"a": 1}', '{"a": 2}', False),
        ("[1, 2]", "[2, 1]", False),
        ('{"a": 1}', "a 1", False),
        (LONG, LONG + " ", True),
        (LONG + " y", LONG + " z", None),
        (LONG, "no", None),
        ("", "", True),
        ("?", "!", False),
    ],
)
def test_equal_words_are_equal_answers_and_long_ones_in_others_are_unknown(
    one: str, other: str, alike: bool | None
) -> None:
    assert same(one, other) is alike
    assert same(other, one) is alike


def reply(**message: object) -> bytes:
    return msgspec.json.encode({"model": "m1", "choices": [{"message": message, "finish_reason": "stop"}]})


def test_an_answer_is_read_from_a_whole_reply() -> None:
    body = reply(content="yes")
    assert answer_of(body) == Answer("yes", "m1", "stop", body=body)
    assert "yes" not in repr(answer_of(body))


@pytest.mark.parametrize(
    ("body", "refused", "tools"),
    [(reply(content=None, refusal="no"), True, False), (reply(tool_calls=[{"id": "t"}]), False, True)],
)
def test_what_is_no_answer_in_words_is_told(body: bytes, refused: bool, tools: bool) -> None:
    found = answer_of(body)
    assert found is not None
    assert (found.refused, found.calls_tools) == (refused, tools)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"choices":[]}', b'{"choices":[{"message":{}},{"message":{}}]}'])
def test_what_holds_no_single_answer_is_none(body: bytes) -> None:
    assert answer_of(body) is None
