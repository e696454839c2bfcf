from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.openai_reply import reply_from, stream_of
from proxy.dialects.openai_said import said
from proxy.errors import ProxyError
from proxy.observed import Said, ToolCall
from tests.proxy.dialects.samples import DONE, chat, delta, event

GOLDEN = Path(__file__).parents[2] / "golden" / "openai"


def reply(**message: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": "stop"}
    return json.dumps({"object": "chat.completion", "choices": [choice]}).encode()


def function(name: str, arguments: Any) -> dict[str, Any]:
    return {"id": "a", "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (reply(content="four"), Said("four", finish_reason="stop")),
        (reply(content=None), Said(finish_reason="stop")),
        (reply(content=[{"type": "text", "text": "fo"}, {"type": "text", "text": "ur"}]), Said("four", (), "stop")),
        (reply(content=None, refusal="No."), Said(finish_reason="stop", refusal="No.")),
        (reply(tool_calls=[function("f", '{"a":1}')]), Said("", (ToolCall("f", '{"a":1}'),), "stop")),
        (reply(tool_calls=[function("f", {"a": 1})]), Said("", (ToolCall("f", '{"a":1}'),), "stop")),
        (reply(tool_calls=[{"custom": {"name": "c", "input": "x"}}]), Said("", (ToolCall("c", "x"),), "stop")),
        (reply(tool_calls=[{}, 3]), Said("", (ToolCall("", ""),), "stop")),
        (reply(function_call={"name": "f", "arguments": "{}"}), Said("", (ToolCall("f", "{}"),), "stop")),
        (b'{"choices":[{"text":"four","finish_reason":"length"}]}', Said("four", (), "length")),
        (b'{"choices":[{"finish_reason":3}]}', Said()),
    ],
)
def test_what_a_plain_reply_says(body: bytes, expected: Said) -> None:
    assert said(body) == (expected,)


def test_every_choice_is_heard() -> None:
    assert [one.text for one in said(b'{"choices":[{"text":"a"},{"text":"b"}]}')] == ["a", "b"]


@pytest.mark.parametrize("body", [b"{}", b"{", b'{"choices":3}', b"", b'{"choices":[1]}', b"data: [DONE]\n\n"])
def test_what_is_not_understood_says_nothing(body: bytes) -> None:
    assert said(body) == ()


def test_log_probabilities_are_averaged_over_the_tokens() -> None:
    tokens = [{"token": "a", "logprob": -1.0}, {"token": "b", "logprob": -2.0}, {"token": "c", "logprob": None}]
    body = json.dumps({"choices": [{"message": {"content": "ab"}, "logprobs": {"content": tokens}}]}).encode()
    assert said(body)[0].logprob_mean == -1.5
    body = json.dumps({"choices": [{"text": "ab", "logprobs": {"token_logprobs": [None, -3, -1]}}]}).encode()
    assert said(body)[0].logprob_mean == -2.0
    assert said(reply(content="x"))[0].logprob_mean is None


def test_a_response_says_its_texts_and_calls() -> None:
    parts = [{"type": "output_text", "text": "fo"}, {"type": "output_text", "text": "ur"}]
    output = [{"type": "reasoning"}, {"type": "message", "content": parts}]
    whole = {"object": "response", "status": "completed", "output": output}
    assert said(json.dumps(whole).encode()) == (Said("four", (), "stop"),)
    ended = event({"type": "response.completed", "response": whole})
    assert said(ended) == (Said("four", (), "stop"),)
    whole["output"] = [{"type": "function_call", "name": "f", "arguments": "{}"}]
    assert said(json.dumps(whole).encode()) == (Said("", (ToolCall("f", "{}"),), "tool_calls"),)
    cut = whole | {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    assert said(json.dumps(cut).encode())[0].finish_reason == "length"


def test_the_beginning_of_a_stream_says_what_has_come() -> None:
    beginning = delta("fo") + delta("ur")
    assert said(beginning) == (Said("four"),)
    assert said(beginning + delta(None, finish="stop") + DONE) == (Said("four", (), "stop"),)


def test_events_that_are_not_json_are_an_error() -> None:
    with pytest.raises(ProxyError):
        said(b"data: {\n\n")


def test_nobody_sees_an_answer_in_a_log() -> None:
    assert "secret" not in repr(Said("secret", (ToolCall("f", "secret"),)))


@given(st.text(max_size=40), st.lists(st.text(max_size=20), max_size=3), st.sampled_from(["stop", "length"]))
def test_a_reply_and_its_stream_say_the_same(text: str, arguments: list[str], finish: str) -> None:
    calls = [function(f"f{at}", value) for at, value in enumerate(arguments)]
    choice = {"message": {"content": text, "tool_calls": calls}, "finish_reason": finish}
    body = json.dumps({"id": "x", "choices": [choice]}).encode()
    one = chat(stream=True)
    assert said(stream_of(one, reply_from(one, body))) == said(body)
