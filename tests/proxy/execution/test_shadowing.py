"""When two answers are a label, and when nobody can tell; the calls of it are tested in tests/flow/test_evidence.py."""

from __future__ import annotations

import pytest

from proxy.execution.shadowing import agree
from proxy.observed import Said, ToolCall

CALL = ToolCall("add", '{"a": 1, "b": 2}')
LONG = "It depends on the weather, on the season and on what you would like to see when you are there, I would say."


@pytest.mark.parametrize(
    ("one", "other", "agreed"),
    [
        (Said("4"), Said(" 4.0 "), True),
        (Said("so it is.\n#### 1,000"), Said("The answer is 1000."), True),
        (Said("4"), Said("5"), False),
        (Said('{"a": 1, "b": 2}'), Said('{"b": 2, "a": 1}'), True),
        (Said('{"a": 1}'), Said('{"a": 2}'), False),
        (Said(tool_calls=(CALL,)), Said(tool_calls=(ToolCall("add", '{"b":2,"a":1}'),)), True),
        (Said(tool_calls=(CALL,)), Said("3"), False),
        (Said(tool_calls=(CALL,)), Said(LONG), False),
        (Said(LONG), Said(LONG + " "), True),
        (Said(LONG), Said(LONG[::-1]), None),
        (Said(""), Said("4"), None),
        (Said("4"), Said(refusal="No."), None),
    ],
)
def test_the_same_in_normal_form_agrees(one: Said, other: Said, agreed: bool | None) -> None:
    assert agree(one, other) is agreed
    assert agree(other, one) is agreed
