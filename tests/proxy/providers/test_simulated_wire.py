from __future__ import annotations

import json

import pytest

from proxy.providers.simulated_answer import Answer
from proxy.providers.simulated_reply import Bill
from proxy.providers.simulated_wire import Naming, error, question, tokens_of, usage, whole

NAMING = Naming("x1", 1_700_000_000, "m")
TOOLS = b'"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}]'


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"model":1}', b'{"model":"m","messages":{}}', b'{"model":"m","messages":[1]}']
)
def test_what_is_no_request_is_none(body: bytes) -> None:
    assert question(body) is None


def test_the_first_limit_that_is_given_holds() -> None:
    asked = question(b'{"model":"m","max_tokens":5,"max_completion_tokens":4}')
    assert asked is not None and asked.tokens_max == 4
    silent = question(b'{"model":"m","max_tokens":null,"vendor_field":{"x":[1]}}')
    assert silent is not None and silent.tokens_max is None


@pytest.mark.parametrize(
    ("choice", "names", "must"),
    [
        (b'"auto"', ["f", "g"], False),
        (b'"required"', ["f", "g"], True),
        (b'"none"', [], False),
        (b'{"type":"function","function":{"name":"g"}}', ["g"], True),
    ],
)
def test_the_tools_that_may_be_called_follow_the_choice(choice: bytes, names: list[str], must: bool) -> None:
    asked = question(b'{"model":"m",%b,"tool_choice":%b}' % (TOOLS, choice))
    assert asked is not None
    assert [function.name for function in asked.functions()] == names
    assert asked.must_use_tool == must


def test_a_conversation_that_goes_on_begins_with_what_it_was() -> None:
    first = question(b'{"model":"m","messages":[{"role":"user","content":"a"}]}')
    grown = question(b'{"model":"m","messages":[{"role":"user","content":"a"},{"role":"tool","content":"b"}]}')
    assert first is not None and grown is not None
    assert grown.text().startswith(first.text().rstrip(b'\n"'))
    assert (first.after_tool(), grown.after_tool()) == (False, True)


def test_tokens_are_never_none() -> None:
    assert [tokens_of(b"a" * size) for size in (0, 1, 4, 5)] == [1, 1, 1, 2]


def test_a_chat_reply_has_the_form_of_the_real_one() -> None:
    body = json.loads(whole(NAMING, [Answer(('{"a"', ":1}"), "tool_calls", "f")], Bill("m", "chat", 8, 4, 2)))
    assert body["object"] == "chat.completion"
    (choice,) = body["choices"]
    assert choice["message"]["content"] is None
    called = {"id": "call_x1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    assert choice["message"]["tool_calls"] == [called]
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 4
    assert body["usage"]["total_tokens"] == 10


def test_each_endpoint_has_its_own_form() -> None:
    answers = [Answer(("hi",), "stop")]
    completion = json.loads(whole(NAMING, answers, Bill("m", "completions", 8, 0, 1)))
    response = json.loads(whole(NAMING, answers, Bill("m", "responses", 8, 0, 1)))
    assert (completion["object"], completion["choices"][0]["text"]) == ("text_completion", "hi")
    assert (response["object"], response["output"][0]["content"][0]["text"]) == ("response", "hi")
    assert "completion_tokens" not in usage(Bill("m", "embeddings", 8, 0, 0))


def test_an_error_is_of_the_kind_its_status_says() -> None:
    said = json.loads(error(429, "slow down"))["error"]
    assert said == {"message": "slow down", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}
    assert json.loads(error(502, "x"))["error"]["type"] == "server_error"
