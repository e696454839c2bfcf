from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.json_body import RepeatedName, dumps, loads, object_of, patch, top_level
from proxy.errors import ProxyError
from tests.effort import examples

SPACES = st.text(alphabet=" \t\n\r", max_size=2)
SCALARS = st.sampled_from(
    [
        "9223372036854775807", "1.10", "1E2", "-0", "1234567890123456789012345", "true", "false", "null", '""',
        '"a\\"b\\\\"', '"\\u00e9"', '"é世界🎉"', '"\\ud83d\\ude00"', '"\\ud800"', '"\\udc00 x"', '"\\\\ud800"', '"},{"',
        '"model"', "1e-7",
    ]
)  # fmt: skip
NAMES = st.sampled_from(
    ["a", "b", "model ", "stream_options", "é", "x\\u0061", "mod\\u0065l2", "q\\\"q", "", "\\ud83d\\ude00", "{"]
)  # fmt: skip


def object_text(members: list[tuple[str, str]], spaces: list[str]) -> str:
    turn = iter(spaces * (4 * len(members) + 2))
    inner = ",".join(f'{next(turn)}"{name}"{next(turn)}:{next(turn)}{value}{next(turn)}' for name, value in members)
    return "{" + inner + "}" if members else "{" + next(turn) + "}"


def _array(items: list[str]) -> str:
    return "[" + " , ".join(items) + "]"


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(_array),
        st.builds(object_text, st.lists(st.tuples(NAMES, inner), max_size=2), st.lists(SPACES, min_size=1, max_size=3)),
    ),
    max_leaves=6,
)
SPACINGS = st.lists(SPACES, min_size=1, max_size=5)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, str]]]:
    members = draw(
        st.lists(st.tuples(NAMES, VALUES), max_size=6, unique_by=lambda member: json.loads(f'"{member[0]}"'))
    )
    outer = draw(SPACES)
    return (outer + object_text(members, draw(SPACINGS)) + outer).encode(), members


@examples(80)
@given(bodies())
def test_every_value_is_kept_to_the_byte(body: tuple[bytes, list[tuple[str, str]]]) -> None:
    raw, members = body
    fields = top_level(raw)
    assert {name: bytes(value) for name, value in fields.items()} == {
        json.loads(f'"{name}"'): value.encode() for name, value in members
    }


@examples(80)
@given(bodies(), st.data())
def test_a_patch_changes_its_values_and_no_other_byte(
    body: tuple[bytes, list[tuple[str, str]]], data: st.DataObject
) -> None:
    raw, _ = body
    fields = top_level(raw)
    changes = {name: b'"<new>"' for name in fields if data.draw(st.booleans())} | {"added": b"[1]", "more": b"2"}
    patched = patch(raw, fields, changes)
    after = top_level(patched)
    assert {name: bytes(value) for name, value in after.items()} == {
        name: bytes(value) for name, value in fields.items()
    } | changes
    back = patched.replace(b',"added":[1],"more":2' if fields else b'"added":[1],"more":2', b"", 1)
    undo = {name: bytes(fields[name]) for name in changes if name in fields}
    assert patch(back, top_level(back), undo) == raw


@examples(80)
@given(bodies(), st.data())
def test_a_repeated_name_is_refused_in_every_layout(
    body: tuple[bytes, list[tuple[str, str]]], data: st.DataObject
) -> None:
    _, members = body
    name = data.draw(st.sampled_from([name for name, _ in members] or ["a"]))
    members = [*members, (name, data.draw(VALUES))] if members else [("a", "1"), ("a", "1")]
    with pytest.raises(ProxyError) as caught:
        top_level(object_text(data.draw(st.permutations(members)), data.draw(SPACINGS)).encode())
    assert caught.value.code == "invalid_request" and caught.value.param is not None


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b'{"model":"a","model":"b"}', "model"),
        (b'{"model":"a","mod\\u0065l":"a"}', "model"),
        (b'{"model":"a","Model":"b"}', "Model"),
        (b'{"stream":true,"\xc5\xbftream":false}', "\\u017ftream"),
        (b'{ "n": 1, "n": 12 }', "n"),
        (b'{ "n": 12, "n": 1 }', "n"),
        (b'{"t":"\\ud800", "n": 1, "n": 1}', "n"),
    ],
)
def test_two_readers_cannot_see_two_values(raw: bytes, name: str) -> None:
    with pytest.raises(ProxyError) as caught:
        top_level(raw)
    assert (caught.value.code, caught.value.param) == ("invalid_request", name)


@pytest.mark.parametrize(
    ("raw", "code", "words"),
    [
        (b"", "invalid_json", "empty"),
        (b"\xef\xbb\xbf{}", "invalid_json", "byte order mark"),
        (b"[]", "invalid_request", "object"),
        (b"null", "invalid_request", "object"),
        (b"3", "invalid_request", "object"),
        (b'"x"', "invalid_request", "object"),
        (b'{"a":"\xff"}', "invalid_json", "UTF-8"),
        (b'{"\xff":1}', "invalid_json", "UTF-8"),
        (b'{"a":NaN}', "invalid_json", "not valid JSON"),
        (b'{"a":1}x', "invalid_json", "trailing"),
        (b'{"a":1', "invalid_json", "truncated"),
        (b'{"a":"\\ud800"', "invalid_json", "truncated"),
        (b'{"a":"\\q"}', "invalid_json", "escape"),
        (b'{"a":' + b"[" * 200_000, "invalid_json", "deep"),
        (b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "invalid_json", "deep"),
    ],
)
def test_what_is_no_object_is_refused_in_words(raw: bytes, code: str, words: str) -> None:
    with pytest.raises(ProxyError) as caught:
        top_level(raw)
    assert caught.value.code == code and words in caught.value.message


def test_without_changes_the_body_is_the_very_same_object() -> None:
    raw = b'{ "model": "a" }'
    assert patch(raw, top_level(raw), {}) is raw


def test_a_patch_stops_reading_where_nothing_is_left_to_change() -> None:
    raw = b'{"model":"a","text":"' + b"\\ud800" + b'" , "n":1.10}'
    assert patch(raw, top_level(raw), {"model": b'"b"'}) == raw.replace(b'"a"', b'"b"')


@pytest.mark.parametrize(
    "text", ['"\\ud800"', '["\\udfff",1e400]', '{"a":{"b":"\\ud83d"}}', "123456789012345678901234"]
)
def test_loads_takes_what_the_grammar_allows(text: str) -> None:
    assert loads(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[" * 200_000, b'"\\ud800', b"nope", b'["\\ud800",' + b"[" * 200_000, b"1" * 5000 + b"x"]
)
def test_loads_and_object_of_fail_with_a_value_error_only(raw: bytes) -> None:
    for read in (loads, object_of):
        with pytest.raises(ValueError):
            read(raw)


def test_a_repeated_name_beside_a_lone_surrogate_is_a_value_error_too() -> None:
    with pytest.raises(RepeatedName):
        object_of(b'{"a":"\\ud800","b":1,"b":2}')


def test_names_in_escapes_stay_apart_beside_a_lone_surrogate() -> None:
    raw = b'{"\\ud83d\\ude00":1,"\\ud83d\\ude01":2,"t":"\\ud800"}'
    assert [bytes(value) for value in top_level(raw).values()] == [b"1", b"2", b'"\\ud800"']


def test_dumps_keeps_text_readable_and_lone_surrogates_alive() -> None:
    assert dumps({"a": "é"}) == '{"a":"é"}'.encode()
    assert dumps(["\ud83d" + "\ude00"]) == b'["\\ud83d\\ude00"]'
    with pytest.raises(ValueError):
        dumps(float("nan"))
