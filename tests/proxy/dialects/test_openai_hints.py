from __future__ import annotations

import json

import pytest
from msgspec import structs

from proxy.cache_hints import CacheHints
from proxy.dialects.openai_chat import OpenAI
from proxy.types import Call
from tests.build import call, target

SAME = target("v/m")
MARKER = b',"cache_control":{"type":"ephemeral"}'


def ask(raw: bytes, hints: CacheHints | None) -> Call:
    return structs.replace(call(head=OpenAI().read("chat", raw, "application/json"), raw=raw), hints=hints)


def written(raw: bytes, hints: CacheHints | None) -> bytes:
    return OpenAI().write(ask(raw, hints), SAME)


COMPACT = (
    b'{"model":"m","messages":[{"role":"system","content":[{"type":"text","text":"a"}]},{"role":"user","content":"b"}]}'
)
SPACED = rb"""{
  "temperature": 1.10, "model" : "m",
  "messages": [
    {"role": "system", "content": [ {"type":"text", "text":"}]\"" } , {"text": "\u00e9", "type": "text" } ] ,
     "name": "x"},
    {"content": [{"type":"text","text":"[{}]"}], "role": "user", "other": [{"type":"text","text":"[{}]"}]}
  ]
}"""


def test_without_hints_the_bytes_are_the_clients() -> None:
    for raw in (COMPACT, SPACED):
        assert written(raw, None) == raw
        assert written(raw, CacheHints()) == raw


@pytest.mark.parametrize("raw", [COMPACT, SPACED])
def test_fields_stand_beside_the_clients_own(raw: bytes) -> None:
    sent = written(raw, CacheHints(key="hg-1", retention="24h"))
    cut = raw.rindex(b"}")
    assert sent[:cut] == raw[:cut]
    assert sent[cut:] == b',"prompt_cache_key":"hg-1","prompt_cache_retention":"24h"' + raw[cut:]


def test_a_marker_is_the_last_member_of_a_messages_last_part() -> None:
    sent = written(COMPACT, CacheHints(marked=(0,)))
    assert sent == COMPACT.replace(b'"text":"a"', b'"text":"a"' + MARKER)


@pytest.mark.parametrize("places", [(0,), (1,), (0, 1)])
def test_without_its_markers_the_body_is_the_clients_byte_for_byte(places: tuple[int, ...]) -> None:
    sent = written(SPACED, CacheHints(marked=places))
    assert sent.count(MARKER) == len(places)
    assert sent.replace(MARKER, b"") == SPACED
    for at, message in enumerate(json.loads(sent)["messages"]):
        assert [("cache_control" in part) for part in message["content"]][-1] == (at in places)
        assert all("cache_control" not in part for part in message["content"][:-1])
        assert "cache_control" not in json.dumps(message.get("other", ""))


def test_a_life_is_said_only_where_it_is_the_long_one_and_one_marker_may_stand_for_all() -> None:
    sent = json.loads(written(COMPACT, CacheHints(ttl="1h", whole=True, marked=(0,))))
    assert sent["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert sent["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert json.loads(written(COMPACT, CacheHints(whole=True)))["cache_control"] == {"type": "ephemeral"}


def test_what_cannot_be_taken_apart_is_left_alone() -> None:
    raw = SPACED.replace(rb"\u00e9", rb"\ud800")
    assert written(raw, CacheHints(marked=(0, 1))) == raw


def test_a_message_that_says_something_twice_is_left_alone() -> None:
    raw = COMPACT.replace(b'"content":[', b'"content":"x","content":[', 1)
    assert written(raw, CacheHints(marked=(0,))) == raw


def test_hints_go_along_with_everything_else_that_changes() -> None:
    raw = COMPACT[:-1] + b',"stream":true}'
    sent = json.loads(OpenAI().write(ask(raw, CacheHints(key="k", marked=(0,))), target("v/other"), 100))
    assert sent["model"] == "other"
    assert sent["prompt_cache_key"] == "k"
    assert sent["stream_options"] == {"include_usage": True}
    assert sent["max_tokens"] == 100
    assert "cache_control" in sent["messages"][0]["content"][0]
