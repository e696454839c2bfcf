from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import structs

from proxy.dialects.openai_demanded import demanded, revised, tool_errors
from proxy.observed import Demand
from tests.proxy.dialects.samples import call, chat

SCHEMA = {"type": "object", "properties": {"n": {"type": "number"}}}
RAW = json.dumps(SCHEMA).encode()


def function(name: str = "f", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name} | more}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Demand()),
        ({"response_format": {"type": "text"}}, Demand()),
        ({"response_format": {"type": "json_object"}}, Demand(json=True)),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}, Demand(True, RAW)),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, Demand(True)),
        ({"text": {"format": {"type": "json_schema", "schema": SCHEMA}}}, Demand(True, RAW)),
        ({"response_format": 3}, Demand()),
        ({"response_format": {"type": 3}}, Demand()),
        ({"tools": [function(parameters=SCHEMA)]}, Demand(tools={"f": RAW})),
        ({"tools": [function(), {"type": "custom", "custom": {"name": "c"}}]}, Demand(tools={"f": None, "c": None})),
        ({"tools": [{"type": "function", "name": "g", "parameters": SCHEMA}]}, Demand(tools={"g": RAW})),
        ({"tools": [3, {"function": 3}]}, Demand()),
        ({"tools": 3}, Demand()),
        ({"tool_choice": "required"}, Demand(tool_due=True)),
        ({"tool_choice": "auto"}, Demand()),
        ({"tool_choice": function()}, Demand(tool_due=True)),
    ],
)
def test_what_a_request_asks_of_its_answer(fields: dict[str, Any], expected: Demand) -> None:
    assert demanded(chat(**fields)) == expected


def test_a_form_without_json_asks_for_nothing() -> None:
    one = chat(tools=[function()])
    assert demanded(structs.replace(one, head=structs.replace(one.head, fields=None))) == Demand()


def asked(id: str, name: str) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [{"id": id, "function": {"name": name, "arguments": "{}"}}]}


def told(id: str, text: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": text}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([asked("1", "f"), told("1", "Error: no file")], (("f", "Error: no file"),)),
        ([asked("1", "f"), told("1", ' {"error": "no file"}')], (("f", '{"error": "no file"}'),)),
        ([asked("1", "f"), told("1", '{"is_error": true, "text": "x"}')], (("f", '{"is_error": true, "text": "x"}'),)),
        ([asked("1", "f"), told("1", "no error: all is well")], ()),
        ([told("9", "Exception: x")], (("", "Exception: x"),)),
        ([{"role": "user", "content": "Error: x"}, 3, told("1", None), {"role": "assistant", "tool_calls": [3]}], ()),
        ([asked("1", "f"), told("1", "Error: old")] + [{"role": "user", "content": "x"}] * 30, ()),
    ],
)
def test_errors_of_tools_are_those_of_the_last_messages(
    messages: list[Any], expected: tuple[tuple[str, str], ...]
) -> None:
    assert tool_errors(chat(messages=messages)) == expected


def test_a_critique_is_one_message_more_and_all_else_stays() -> None:
    raw = b'{"model":"m", "seed": 12345678901234567890, "messages":[{"role":"user","content":"\\ud800"}], "n":1}'
    one = call("chat", raw)
    again = revised(one, "a draft {x}", "it is empty")
    assert again is not None
    assert again.raw.startswith(raw[: raw.index(b"}]") + 1])
    assert again.raw.endswith(b'], "n":1}')
    last = json.loads(again.raw)["messages"][-1]
    assert last["role"] == "user"
    assert "a draft {x}" in last["content"] and "it is empty" in last["content"]
    assert again.input_tokens_estimate > one.input_tokens_estimate
    assert bytes((again.head.fields or {})["messages"]).endswith(b"]")


def test_a_conversation_without_messages_takes_one_too() -> None:
    again = revised(chat(messages=[]), "x", "y")
    assert again is not None
    assert len(json.loads(again.raw)["messages"]) == 1


def test_only_a_chat_has_room_for_one() -> None:
    assert revised(call("completions"), "x", "y") is None
