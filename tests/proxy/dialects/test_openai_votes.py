from __future__ import annotations

import json

import pytest
from msgspec import structs

from proxy.dialects.openai_request import read
from proxy.dialects.openai_votes import AFTER, BEFORE, debated, with_votes
from proxy.types import Call
from tests.build import call


def chat(raw: bytes) -> Call:
    return structs.replace(call(), raw=raw, head=read("chat", raw, "application/json"), input_tokens_estimate=10)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"m","messages":[{"role":"user","content":"1.0 [ ]"}],"seed":1.50}',
        b'{ "messages": [ ] , "model" : "m" }',
        b'{"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],"model":"m"}',
    ],
)
def test_a_debate_adds_its_turns_and_leaves_the_clients_words_alone(raw: bytes) -> None:
    before = chat(raw)
    asked = debated(before, 'mine "quoted"', ["theirs\n", "漢"])
    whole, old = json.loads(asked.raw), json.loads(raw)
    own, others = whole["messages"][-2:]
    assert whole["messages"][:-2] == old["messages"]
    assert {**whole, "messages": 0} == {**old, "messages": 0}
    assert own == {"role": "assistant", "content": 'mine "quoted"'}
    assert others == {"role": "user", "content": f"{BEFORE}\n\n[1]\ntheirs\n\n\n[2]\n漢\n\n{AFTER}"}
    assert asked.raw.startswith(raw[: raw.rindex(b"]")].rstrip()), "byte for byte up to there"
    assert asked.input_tokens_estimate == before.input_tokens_estimate + 99
    assert asked.head.fields is not None
    assert bytes(asked.head.fields["messages"]) in asked.raw
    assert structs.replace(asked, raw=b"", head=before.head, input_tokens_estimate=0) == structs.replace(
        before, raw=b"", input_tokens_estimate=0
    )


def test_a_plain_reply_tells_of_the_vote_in_one_more_member() -> None:
    body = b'{"id": "c", "choices": [ ], "n": 1.0}'
    told = with_votes(body, {"counts": (2, 1)})
    assert json.loads(told) == {"id": "c", "choices": [], "n": 1.0, "x_headgate": {"votes": {"counts": [2, 1]}}}
    assert told.startswith(body[:-1])


@pytest.mark.parametrize(
    ("end", "rest"), [(b"data: [DONE]\n\n", b"data: [DONE]\n\n"), (b"", b"")], ids=["marked", "not marked"]
)
def test_a_stream_tells_of_it_in_an_event_before_its_end(end: bytes, rest: bytes) -> None:
    events = b'data: {"choices":[]}\n\n'
    told = with_votes(events + end, {"size": 3})
    assert told.startswith(events)
    added = told[len(events) : len(told) - len(rest)]
    assert told.endswith(rest)
    assert json.loads(added.removeprefix(b"data: ")) == {
        "object": "chat.completion.chunk",
        "choices": [],
        "x_headgate": {"votes": {"size": 3}},
    }
