from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.base import Reply
from proxy.dialects.openai_fold import reply_of, so_far
from proxy.dialects.openai_reply import stream_of
from proxy.errors import ProxyError
from proxy.types import Endpoint
from tests.effort import examples
from tests.proxy.dialects.samples import DONE, call, chat, delta, event

GOLDEN = Path(__file__).parents[2] / "golden" / "openai"
REFUSED = {
    "after_the_end", "error_after_content", "error_before_content", "no_done", "torn_last_event", "responses_failed",
    "responses_error", "transcriptions_stream",
}  # fmt: skip
WHOLE = sorted(path.stem for path in GOLDEN.glob("*.in") if path.stem not in REFUSED)


def fold(stream: bytes, endpoint: Endpoint = "chat", **changes: object) -> Any:
    one = chat(**changes) if changes else call(endpoint)
    return json.loads(reply_of(one, stream).body)


@pytest.mark.parametrize("name", WHOLE)
def test_a_recorded_stream_folds_as_it_did(name: str) -> None:
    endpoint: Endpoint = "responses" if "responses" in name else "completions" if "completions" in name else "chat"
    one = chat(n=2) if name == "two_choices" else call(endpoint)
    folded = reply_of(one, (GOLDEN / f"{name}.in").read_bytes())
    said = json.dumps(json.loads(folded.body), indent=1, ensure_ascii=False).encode() + b"\n"
    if os.environ.get("HEADGATE_GOLDEN"):
        (GOLDEN / f"{name}.folded").write_bytes(said)
    assert said == (GOLDEN / f"{name}.folded").read_bytes()


def test_tool_calls_interleave_and_their_arguments_are_cut_anywhere() -> None:
    def call_part(index: int, arguments: str, **more: object) -> dict[str, Any]:
        return {"index": index, "function": {"arguments": arguments} | more}

    parts = [
        [call_part(1, "", name="g") | {"id": "b", "type": "function"}],
        [call_part(0, '{"a', name="f") | {"id": "a", "type": "function"}, call_part(1, '{"x":"\\')],
        [call_part(0, '":1}'), call_part(1, 'u00e9"}')],
    ]
    stream = b"".join(delta(None, tool_calls=part) for part in parts) + delta(None, finish="tool_calls") + DONE
    calls = fold(stream)["choices"][0]["message"]["tool_calls"]
    assert [(one["id"], one["function"]["name"], one["function"]["arguments"]) for one in calls] == [
        ("a", "f", '{"a":1}'),
        ("b", "g", '{"x":"\\u00e9"}'),
    ]
    assert all("index" not in one for one in calls)


def test_tool_calls_without_index_are_told_apart_by_their_id() -> None:
    first, second = ({"id": name, "function": {"name": name, "arguments": "{}"}} for name in "ab")
    more = {"function": {"arguments": "!"}}
    stream = delta(None, tool_calls=[first]) + delta(None, tool_calls=[second]) + delta(None, tool_calls=[more])
    calls = fold(stream + DONE)["choices"][0]["message"]["tool_calls"]
    assert [one["function"]["arguments"] for one in calls] == ["{}", "{}!"]


def test_halves_of_a_surrogate_pair_meet() -> None:
    stream = delta("\ud83d") + delta("\ude00", finish="stop")
    assert reply_of(call(), stream).body.find(rb"\ud83d\ude00") > 0


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (b"", "cut"),
        (delta("half"), "cut"),
        (delta("half") + b"data: {", "not JSON"),
        (b"<html>", "cut"),
        (b": ping\n\n", "cut"),
        (delta("one of two", finish="stop"), "cut"),
    ],
)
def test_half_an_answer_is_an_error(stream: bytes, words: str) -> None:
    with pytest.raises(ProxyError, match=words) as caught:
        fold(stream, n=2)
    assert caught.value.code == "upstream_broken"


def test_an_error_event_is_that_error() -> None:
    with pytest.raises(ProxyError) as caught:
        fold(delta("a") + event({"error": {"message": "m", "code": "rate_limit_exceeded"}}) + DONE)
    assert caught.value.code == "upstream_overloaded"


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (event({"type": "response.failed", "response": {"error": {"code": 503, "message": "m"}}}), "upstream_error"),
        (event({"type": "error", "code": "rate_limit_exceeded", "message": "m"}), "upstream_overloaded"),
        (event({"type": "response.output_text.delta", "delta": "x"}), "upstream_broken"),
    ],
)
def test_a_response_that_did_not_complete_is_an_error(stream: bytes, code: str) -> None:
    with pytest.raises(ProxyError) as caught:
        fold(stream, "responses")
    assert caught.value.code == code


def test_other_endpoints_do_not_fold() -> None:
    with pytest.raises(ProxyError, match="stream where one JSON"):
        fold(event({"a": 1}) + DONE, "embeddings")


MESSAGES = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.text(max_size=5)},
    optional={
        "reasoning_content": st.text(min_size=1, max_size=5),
        "refusal": st.text(min_size=1, max_size=5),
        "tool_calls": st.lists(
            st.fixed_dictionaries(
                {
                    "id": st.text(min_size=1, max_size=2),
                    "type": st.just("function"),
                    "function": st.fixed_dictionaries({"name": st.just("f"), "arguments": st.text(max_size=4)}),
                }
            ),
            min_size=1,
            max_size=3,
        ),
    },
)


@examples(100)
@given(st.lists(MESSAGES, min_size=1, max_size=3), st.booleans())
def test_a_reply_unfolded_and_folded_is_itself(messages: list[dict[str, Any]], with_logprobs: bool) -> None:
    extra = {"logprobs": {"content": [{"token": "a", "logprob": -0.5}]}} if with_logprobs else {}
    choices = [
        {"index": index, "message": message, "finish_reason": "stop"} | extra for index, message in enumerate(messages)
    ]
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    whole = {"id": "x", "object": "chat.completion", "model": "m", "vendor": [1.5], "choices": choices, "usage": usage}
    one = chat(n=len(messages), stream_options={"include_usage": True})
    stream = stream_of(one, Reply(body=json.dumps(whole).encode(), usage=None))
    assert json.loads(reply_of(one, stream).body) == whole


def test_what_has_come_so_far_needs_no_end() -> None:
    stream = delta("half ") + delta("an answer")
    told = so_far("chat", stream)
    assert isinstance(told, dict)
    assert told["choices"][0]["message"]["content"] == "half an answer"


def test_of_a_response_the_last_event_is_all_and_without_it_the_texts_are() -> None:
    texts = b"".join(event({"type": "response.output_text.delta", "delta": text}) for text in ("a", "b"))
    assert so_far("responses", texts) == {"output_text": "ab"}
    whole = event({"type": "response.incomplete", "response": {"output": []}})
    assert so_far("responses", texts + whole) == {"output": []}


def test_what_is_no_stream_has_not_come_so_far() -> None:
    with pytest.raises(ProxyError):
        so_far("chat", b"data: {\n\n")
