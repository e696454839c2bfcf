from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.dialects.base import Reply
from proxy.dialects.openai_reply import reply_from, stream_of
from proxy.errors import ProxyError
from proxy.types import Endpoint
from tests.proxy.dialects.samples import OPENAI, TARGET, call, chat

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
TOOL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": "\\u00'}}


def completion(*choices: dict[str, Any], **more: object) -> bytes:
    whole = {"id": "x", "object": "chat.completion", "created": 5, "model": "m-1-0", "choices": list(choices)}
    return json.dumps(whole | {"usage": USAGE} | more).encode()


def choice(index: int = 0, finish: str = "stop", **message: object) -> dict[str, Any]:
    return {"index": index, "message": {"role": "assistant", "content": None} | message, "finish_reason": finish}


def test_a_reply_tells_usage_text_and_ending() -> None:
    body = completion(choice(content="héé", tool_calls=[TOOL], finish="tool_calls"))
    reply = reply_from(call(), body)
    assert reply.body is body and reply.finish_reason == "tool_calls"
    assert reply.usage is not None and reply.usage.output == 4
    assert reply.text_bytes == 5 + len('f{"a": "\\u00')


@pytest.mark.parametrize(
    ("endpoint", "body", "text_bytes", "finish_reason"),
    [
        ("chat", completion(), 0, None),
        ("chat", completion(choice(content="\ud800")), 3, "stop"),
        ("completions", completion({"text": "abc", "finish_reason": "length"}), 3, "length"),
        ("embeddings", b'{"data":[],"usage":{"prompt_tokens":9,"total_tokens":9}}', 0, None),
        ("responses", b'{"status":"completed","error":null,"output":[{"content":[{"text":"hi"}]}]}', 2, "completed"),
        ("moderations", b'{"results":[]}', 0, None),
        ("transcriptions", b'{"text":"x","usage":{"type":"duration","seconds":3}}', 0, None),
        ("transcriptions", b"1\n00:00 --> 00:02\nHi", 20, None),
        ("speech", b"ID3\xff", 4, None),
    ],
)
def test_each_endpoint_has_its_valid_replies(
    endpoint: Endpoint, body: bytes, text_bytes: int, finish_reason: str | None
) -> None:
    reply = reply_from(call(endpoint), body)
    assert (reply.body, reply.text_bytes, reply.finish_reason) == (body, text_bytes, finish_reason)


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("chat", b""),
        ("chat", b"<html>"),
        ("chat", b"[]"),
        ("chat", b"{}"),
        ("chat", b'{"choices":{}}'),
        ("chat", b'{"choices":[{"message":{"content":"cut'),
        ("chat", b'{"choices":[],"x":"\xff"}'),
        ("chat", b'{"choices":' + b"[" * 200_000),
        ("embeddings", b'{"choices":[]}'),
        ("responses", b"{}"),
        ("moderations", b"5"),
        ("transcriptions", b""),
    ],
)
def test_what_is_no_reply_is_broken(endpoint: Endpoint, body: bytes) -> None:
    with pytest.raises(ProxyError) as caught:
        reply_from(call(endpoint), body)
    assert caught.value.code == "upstream_broken"


def test_an_error_object_in_a_200_is_that_error() -> None:
    for body in (b'{"error":{"message":"m","code":429}}', b'{"object":"error","message":"m","code":429}'):
        with pytest.raises(ProxyError) as caught:
            reply_from(call(), body)
        assert caught.value.code == "upstream_overloaded"


def test_missing_usage_is_none_and_zero_is_zero() -> None:
    assert reply_from(call(), b'{"choices":[]}').usage is None
    assert reply_from(call(), b'{"choices":[],"usage":null}').usage is None
    zero = reply_from(call(), b'{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0}}').usage
    assert zero is not None and zero.output_total == 0


def events_of(stream: bytes) -> list[Any]:
    assert stream.endswith(b"data: [DONE]\n\n")
    return [json.loads(event[6:]) for event in stream.split(b"\n\n")[:-2]]


def test_a_whole_reply_becomes_the_stream_its_client_waits_for() -> None:
    body = completion(
        choice(content="hé", refusal=None, reasoning_content="why", finish="tool_calls", tool_calls=[TOOL, TOOL])
        | {"logprobs": {"content": []}, "native_finish_reason": "x"},
        system_fingerprint="fp",
        vendor={"a": 1},
    )
    first, last = events_of(stream_of(chat(), reply_from(call(), body)))
    base = {"id": "x", "object": "chat.completion.chunk", "created": 5, "model": "m-1-0", "system_fingerprint": "fp"}
    message = {"role": "assistant", "content": "hé", "reasoning_content": "why"}
    message |= {"tool_calls": [{"index": 0} | TOOL, {"index": 1} | TOOL]}
    assert first == base | {"vendor": {"a": 1}} | {
        "choices": [{"index": 0, "delta": message, "finish_reason": None, "logprobs": {"content": []}}]
    }
    assert last["choices"] == [
        {"index": 0, "delta": {}, "finish_reason": "tool_calls", "native_finish_reason": "x"}
    ]  # fmt: skip


def test_usage_is_told_only_to_who_asked() -> None:
    reply = Reply(body=completion(choice(content="a"), choice(1, content="b")), usage=None)
    assert len(events_of(stream_of(chat(n=2), reply))) == 4
    asked = events_of(stream_of(chat(n=2, stream_options={"include_usage": True}), reply))
    assert asked[-1]["choices"] == [] and asked[-1]["usage"] == USAGE


def test_the_stream_of_a_reply_passes_as_a_complete_one() -> None:
    for endpoint, body in (
        ("chat", completion(choice(content="\ud83d"))),
        ("completions", completion({"index": 0, "text": "abc", "finish_reason": "stop"}, object="text_completion")),
    ):
        one = call(endpoint)  # type: ignore[arg-type]  # literals
        passage = OPENAI.passage(one, TARGET)
        stream = stream_of(one, reply_from(one, body))
        assert passage.feed(stream) == stream and passage.content and passage.finished and passage.terminal


def test_odd_choices_do_not_break_the_stream() -> None:
    body = b'{"choices":[null,{"message":null},{"message":{"tool_calls":[null]}}]}'
    assert stream_of(chat(), reply_from(call(), body)).endswith(b"data: [DONE]\n\n")


def test_other_endpoints_have_no_stream_of_a_whole_reply() -> None:
    with pytest.raises(ProxyError, match="JSON reply where a stream"):
        stream_of(call("responses"), Reply(body=b"{}", usage=None))


@pytest.mark.parametrize(
    ("endpoint", "body", "tier"),
    [
        ("chat", completion(choice(), service_tier="default"), "default"),
        ("chat", completion(choice(), service_tier="priority", usage=USAGE | {"cost": 1}), "priority"),
        ("chat", completion(choice(), service_tier=None), None),
        ("chat", completion(choice(), service_tier=7), None),
        ("chat", completion(choice()), None),
        ("responses", b'{"status":"completed","output":[],"service_tier":"flex"}', "flex"),
    ],
)
def test_a_reply_says_at_which_tier_it_was_served(endpoint: Endpoint, body: bytes, tier: str | None) -> None:
    assert reply_from(call(endpoint), body).tier == tier
