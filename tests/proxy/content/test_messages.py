"""Words in the form that spans have them."""

from __future__ import annotations

import pytest
from msgspec import json

from proxy.content.messages import CHARS_MAX, attributes

QUESTION = {"role": "user", "content": [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {}}]}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def told(request: object, reply: object) -> list[object]:
    return [json.decode(text) for text in attributes(request, reply).values()]


def test_a_chat() -> None:
    reply = {
        "choices": [
            {"message": {"role": "assistant", "content": "that", "tool_calls": [CALL]}, "finish_reason": "stop"}
        ]
    }
    asked, answered = told({"messages": [{"role": "system", "content": "be brief"}, QUESTION]}, reply)
    picture = {"type": "image_url", "image_url": {}}
    assert asked == [
        {"role": "system", "parts": [{"type": "text", "content": "be brief"}]},
        {"role": "user", "parts": [{"type": "text", "content": "what?"}, picture]},
    ]
    parts = [
        {"type": "text", "content": "that"},
        {"type": "tool_call", "id": "c1", "name": "look", "arguments": "{}"},
    ]
    assert answered == [{"role": "assistant", "parts": parts, "finish_reason": "stop"}]


def test_a_completion_and_a_response() -> None:
    asked, answered = told({"prompt": "once"}, {"choices": [{"text": "upon"}]})
    assert asked == [{"role": "user", "parts": [{"type": "text", "content": "once"}]}]
    assert answered == [{"role": "assistant", "parts": [{"type": "text", "content": "upon"}]}]
    output = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}]
    asked, answered = told({"input": "hello"}, {"output": output})
    assert answered == [{"role": "assistant", "parts": [{"type": "text", "content": "hi"}]}]


@pytest.mark.parametrize("value", [None, 7, [], "text", {}, {"messages": 3}, {"input": [1, 2]}, {"choices": 4}])
def test_what_is_no_message_is_left_out(value: object) -> None:
    assert attributes(value, value) == {}


def test_what_is_too_long_is_left_out_whole() -> None:
    long = {"messages": [{"role": "user", "content": "x" * CHARS_MAX}]}
    assert list(attributes(long, {"choices": [{"text": "short"}]})) == ["gen_ai.output.messages"]
