"""What a request tells of the turns before it, read whole or as far as it is new."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from proxy.dialects.json_body import top_level
from proxy.dialects.openai_turns import SAMPLE, TURNS_MAX, turns
from proxy.observed import Mark, ToolUse, Turn
from proxy.types import Call, Endpoint, Head
from tests.build import call
from tests.effort import examples

SYSTEM = {"role": "system", "content": "be brief"}
USER = {"role": "user", "content": "go"}


def asked(items: object, endpoint: Endpoint = "chat", *, separators: tuple[str, str] = (",", ":")) -> Call:
    name = "messages" if endpoint == "chat" else "input"
    raw = json.dumps({"model": "m", name: items, "n": 1}, separators=separators).encode()
    return structs.replace(call(endpoint=endpoint), raw=raw, head=Head(model="m", fields=top_level(raw)))


def used(id: str, tool: str = "search", arguments: object = '{"q":1}', result: object = "none") -> list[object]:
    function = {"name": tool, "arguments": arguments}
    calling = {"id": id, "type": "function", "function": function}
    return [
        {"role": "assistant", "content": None, "tool_calls": [calling]},
        {"role": "tool", "tool_call_id": id, "content": result},
    ]


def test_a_turn_is_what_was_written_asked_for_and_answered() -> None:
    items = [SYSTEM, USER, *used("1"), {"role": "assistant", "content": "Done."}, {"role": "user", "content": "more"}]
    assert turns(asked(items), None).turns == (
        Turn("", (ToolUse("search", b'{"q":1}', "none"),)),
        Turn("Done.", (), "more"),
    )


def test_results_belong_to_their_calls_in_whatever_order_they_come() -> None:
    calls = [{"id": id, "function": {"name": id, "arguments": "{}"}} for id in "ab"]
    results = [{"role": "tool", "tool_call_id": id, "content": f"of {id}"} for id in "ba"]
    (turn,) = turns(asked([USER, {"role": "assistant", "tool_calls": calls}, *results]), None).turns
    assert turn.uses == (ToolUse("a", b"{}", "of a"), ToolUse("b", b"{}", "of b"))


FORMS = [
    ("parts", [{"type": "text", "text": "no"}, {"type": "text", "text": "ne"}], "no\nne"),
    ("a part marked for a cache", [{"type": "text", "text": "none", "cache_control": {"type": "ephemeral"}}], "none"),
    ("nothing", None, ""),
    ("a picture", [{"type": "image_url", "url": "x"}], "{'type': 'image_url', 'url': 'x'}"),
    ("beyond ASCII", "fünf €", "fünf €"),
]  # fmt: skip


@pytest.mark.parametrize(("result", "text"), [row[1:] for row in FORMS], ids=[row[0] for row in FORMS])
def test_forms_of_a_result(result: object, text: str) -> None:
    (turn,) = turns(asked([USER, *used("1", result=result)]), None).turns
    assert turn.uses[0].result == text


def test_arguments_may_be_an_object() -> None:
    (turn,) = turns(asked([USER, *used("1", arguments={"q": 1})]), None).turns
    assert turn.uses[0].arguments == b'{"q":1}'


def test_the_input_of_a_response_is_read_as_well() -> None:
    items = [
        USER,
        {"type": "reasoning", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Looking."}]},
        {"type": "function_call", "call_id": "1", "name": "search", "arguments": '{"q":1}'},
        {"type": "function_call", "call_id": "2", "name": "read", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "none"},
        {"type": "function_call_output", "call_id": "2", "output": "text"},
        {"type": "function_call", "call_id": "3", "name": "search", "arguments": '{"q":2}'},
        {"type": "function_call_output", "call_id": "3", "output": "none"},
    ]
    first, second = turns(asked(items, "responses"), None).turns
    assert first == Turn("Looking.", (ToolUse("search", b'{"q":1}', "none"), ToolUse("read", b"{}", "text")))
    assert second.uses == (ToolUse("search", b'{"q":2}', "none"),)


def test_behind_a_mark_only_what_is_new_is_told() -> None:
    items: list[object] = [SYSTEM, USER, *used("1")]
    first = turns(asked(items), None)
    assert (first.known, len(first.turns)) == (False, 1)
    items += used("2", result="found")
    second = turns(asked(items), first.mark)
    assert second.known
    assert [turn.uses[0].result for turn in second.turns] == ["found"]
    again = turns(asked(items), second.mark)
    assert (again.known, again.turns, again.mark) == (True, (), second.mark)


def test_of_another_conversation_all_is_told() -> None:
    mark = turns(asked([SYSTEM, USER, *used("1"), *used("2")]), None).mark
    for items in ([USER, *used("9")], [SYSTEM, USER, *used("1"), *used("3"), *used("4"), *used("5")]):
        read = turns(asked(items), mark)
        assert not read.known
        assert len(read.turns) == (len(items) - 1) // 2


def test_a_mark_in_the_middle_of_an_item_is_none() -> None:
    request = asked([USER, *used("1")])
    assert request.head.fields is not None
    raw = bytes(request.head.fields["messages"])
    read = turns(request, Mark(20, raw[10:20]))
    assert (read.turns, read.mark.end) == ((), 0)


@examples(100)
@given(
    st.lists(st.tuples(st.text(max_size=30), st.text(max_size=400)), min_size=1, max_size=8),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " : ")]),
)
def test_what_is_read_piece_by_piece_is_what_is_read_at_once(
    steps: list[tuple[str, str]], separators: tuple[str, str]
) -> None:
    items: list[object] = [SYSTEM, USER]
    mark: Mark | None = None
    found: list[Turn] = []
    for number, (query, result) in enumerate(steps):
        items += used(str(number), arguments=json.dumps({"q": query}), result=result)
        read = turns(asked(items, separators=separators), mark)
        mark = read.mark
        found += read.turns
    assert tuple(found) == turns(asked(items, separators=separators), None).turns


def test_of_a_long_conversation_the_last_turns_are_told() -> None:
    items = [USER, *[item for number in range(100) for item in used(str(number), result=str(number))]]
    read = turns(asked(items), None)
    assert [turn.uses[0].result for turn in read.turns] == [str(number) for number in range(100 - TURNS_MAX, 100)]
    assert len(read.mark.sample) == SAMPLE


STRANGE = [
    ("no model has spoken", [SYSTEM, USER]),
    ("empty", []),
    ("no list", {"role": "user"}),
    ("a text", "hello assistant"),
    ("null", None),
    ("items that are no objects", [1, "assistant"]),
    ("a role that is no text", [{"role": 7, "content": "assistant"}]),
]


@pytest.mark.parametrize("items", [row[1] for row in STRANGE], ids=[row[0] for row in STRANGE])
def test_what_cannot_be_read_has_no_turns(items: object) -> None:
    assert turns(asked(items), None).turns == ()
    assert turns(asked(items, "responses"), None).turns == ()


def test_other_endpoints_have_none() -> None:
    assert turns(call(endpoint="embeddings", head=Head(model="m", fields={})), None).turns == ()
    assert turns(call(), None).turns == ()


def test_a_lone_surrogate_does_no_harm() -> None:
    assert turns(asked([USER, *used("1", result="\ud800")]), None).turns in (
        (),
        (Turn("", (ToolUse("search", b'{"q":1}', "\ufffd"),)),),
    )
