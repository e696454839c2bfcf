from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.cache_rules import owner
from policies.semantic.scope import Question, question_of
from proxy.dialects.openai_chat import OpenAI
from proxy.types import Call, Endpoint, Identity

SYSTEM = {"role": "system", "content": "be brief"}
ASKED = {"role": "user", "content": "what is this"}
PLAIN: dict[str, object] = {"model": "m", "messages": [SYSTEM, ASKED], "temperature": 0}
ME = Identity("k1", "a")


def call(fields: Mapping[str, object], endpoint: Endpoint = "chat", route: str = "m", who: Identity = ME) -> Call:
    raw = msgspec.json.encode(fields)
    return Call(
        id="c",
        endpoint=endpoint,
        dialect="openai",
        route=route,
        head=OpenAI().read(endpoint, raw, "application/json"),
        raw=raw,
        identity=who,
        arrived_at=0.0,
        arrived_wall=0.0,
        deadline=1.0,
        input_tokens_estimate=1,
        trace_id="t",
    )


def asked(fields: Mapping[str, object], *, route: str = "m", who: Identity = ME, revision: str = "r") -> Question:
    found = question_of(call(fields, route=route, who=who), owner(who, "agent"), revision)
    assert isinstance(found, Question)
    return found


def with_turns(*turns: object) -> dict[str, object]:
    return {**PLAIN, "messages": list(turns)}


def test_only_the_last_turn_may_differ_within_a_scope() -> None:
    one, other = asked(PLAIN), asked(with_turns(SYSTEM, {**ASKED, "content": "what is that"}))
    assert one.scope == other.scope
    assert (one.text, other.text) == ("what is this", "what is that")
    assert "this" not in repr(one)


OTHERS: list[dict[str, object]] = [
    with_turns({**SYSTEM, "content": "be long"}, ASKED),
    with_turns(ASKED),
    with_turns(SYSTEM, ASKED, {"role": "assistant", "content": "it"}, ASKED),
    with_turns(SYSTEM, {**ASKED, "name": "bob"}),
    {**PLAIN, "temperature": 0.0},
    {**PLAIN, "top_p": 0.5},
    {**PLAIN, "max_tokens": 5},
    {**PLAIN, "tools": [{"type": "function", "function": {"name": "f"}}]},
    {**PLAIN, "tools": [{"type": "function", "function": {"name": "g"}}]},
    {**PLAIN, "response_format": {"type": "json_object"}},
    {**PLAIN, "stream": True},
    {**PLAIN, "stop": ["x"]},
    {**PLAIN, "user": "u1"},
    {**PLAIN, "metadata": {"locale": "de"}},
    {**PLAIN, "nobody_knows_this": 1},
    {**PLAIN, "model": "m2"},
]


def test_everything_else_makes_another_scope() -> None:
    scopes = [asked(fields).scope for fields in (PLAIN, *OTHERS)]
    assert len(set(scopes)) == len(scopes)


@pytest.mark.parametrize("who", [Identity("k2", "a"), Identity("k1", "b"), Identity("k1", "a", team="t")])
def test_another_owner_has_another_scope(who: Identity) -> None:
    assert asked(PLAIN, who=who).scope != asked(PLAIN).scope


def test_another_route_or_revision_has_another_scope() -> None:
    assert len({asked(PLAIN).scope, asked(PLAIN, route="n").scope, asked(PLAIN, revision="r2").scope}) == 3


def test_text_in_parts_is_the_same_question() -> None:
    parts = [{"type": "text", "text": "what is"}, {"type": "text", "text": "this"}]
    found = asked(with_turns(SYSTEM, {**ASKED, "content": parts}))
    assert (found.scope, found.text) == (asked(PLAIN).scope, "what is\nthis")


@pytest.mark.parametrize(
    ("turns", "why"),
    [
        ([], "its last turn is not a user's"),
        ([ASKED, {"role": "tool", "content": "x", "tool_call_id": "t"}], "its last turn is not a user's"),
        ([ASKED, {"role": "assistant", "content": "x"}], "its last turn is not a user's"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}], "more than text"),
        ([{"role": "user", "content": []}], "more than text"),
        ([{"role": "user", "content": 5}], "cannot be read"),
        ([5], "cannot be read"),
    ],
)
def test_what_is_no_question_in_words_has_none(turns: list[object], why: str) -> None:
    found = question_of(call(with_turns(*turns)), b"o", "r")
    assert isinstance(found, str)
    assert why in found


def test_only_chats_have_one() -> None:
    assert question_of(call({"model": "m", "input": "x"}, "embeddings"), b"o", "r") == "only chats are looked up"


TURN = st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": st.text(max_size=8)})


@given(st.lists(TURN, max_size=4), st.lists(TURN, max_size=4))
def test_two_histories_share_a_scope_only_if_they_are_equal(one: list[object], other: list[object]) -> None:
    scopes = [asked(with_turns(*turns, ASKED)).scope for turns in (one, other)]
    assert (scopes[0] == scopes[1]) == (str(one) == str(other)), "fields in another order are another text"
