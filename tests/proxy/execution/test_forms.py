from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.execution.forms import KEPT_MAX, SCHEMA_BYTES_MAX, TEXT_CHARS_MAX, Forms

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}, "home": {"$ref": "#/$defs/h"}},
    "required": ["name", "age"],
    "additionalProperties": False,
    "$defs": {"h": {"type": "object", "required": ["street"]}},
}
DEEP: Any = 1
for _ in range(40):
    DEEP = {"a": DEEP}
TWICE = {"type": "object", "properties": {"a": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}}}


def fault(schema: object, value: object) -> str | None:
    return Forms().fault(json.dumps(schema).encode(), json.dumps(value))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"name": "x", "age": 1}, None),
        ({"name": "x", "age": 1, "home": {"street": "y"}}, None),
        ({"name": "x", "age": 1, "home": {}}, "home: street missing"),
        ({"name": "x", "age": -1}, "age: against 'minimum'"),
        ({"name": "x"}, "its top: age missing"),
        ({"name": 1, "age": 1}, "name: against 'type'"),
        ({"name": "x", "age": 1, "more": 1}, "its top: against 'additionalProperties'"),
        ([], "its top: against 'type'"),
    ],
)
def test_a_value_fits_or_it_is_said_where_it_does_not(value: object, why: str | None) -> None:
    assert fault(PERSON, value) == why


def test_the_answer_itself_is_in_no_reason() -> None:
    assert "secret" not in (fault({"type": "integer"}, "secret") or "")


@pytest.mark.parametrize(
    ("schema", "value", "why"),
    [
        ({"allOf": [{"$ref": "#"}]}, 1, "it is nested too deeply to be checked"),
        (TWICE, DEEP, "it takes too long to check"),
        ({"type": "array", "items": {"enum": list(range(5_000))}}, list(range(5_000)), "it takes too long to check"),
        ({"pattern": "(a|b|ab)*[cd]$"}, "ab" * 3_000, "a pattern of its schema takes too long"),
        ({"$ref": "http://127.0.0.1:1/x"}, 1, "its schema refers to what is not in it"),
        ({"$ref": "#/nowhere"}, 1, "its schema refers to what is not in it"),
        ({"type": 3}, 1, "its schema is none"),
        ({"pattern": "("}, "x", "its schema is none"),
        ({"patternProperties": {"(a+)+$": {}}}, {"a": 1}, "its schema is one that is not checked"),
        ([], 1, "its schema is one that is not checked"),
        ({"x": DEEP, "y": {"z": DEEP, "d": {"d": {"d": DEEP}}}}, 1, None),
        ({"description": "x" * SCHEMA_BYTES_MAX}, 1, "its schema is too long to be checked"),
    ],
)
def test_nothing_in_a_schema_makes_the_gate_wait(schema: object, value: object, why: str | None) -> None:
    assert fault(schema, value) == why


def test_many_items_are_compared_in_one_go() -> None:
    assert fault({"uniqueItems": True}, list(range(30_000))) is None
    assert fault({"uniqueItems": True}, [*range(30_000), 0]) == "its top: against 'uniqueItems'"


def test_what_cannot_be_read_does_not_fit() -> None:
    forms = Forms()
    assert forms.fault(b"{}", "{") == "it is not JSON"
    assert forms.fault(b"{}", "[" * 100_000) == "it is not JSON"
    assert forms.fault(b"{", "{}") == "its schema is not JSON"
    assert forms.fault(b"{}", " " * (TEXT_CHARS_MAX + 1)) == "it is too long to be checked"
    assert forms.fault(json.dumps({"x": ["y"] * 3}).encode(), "{}") is None


def test_schemas_are_read_once_and_not_all_are_kept() -> None:
    forms = Forms()
    for at in range(KEPT_MAX + 5):
        forms.fault(json.dumps({"minimum": at}).encode(), "0")
    assert repr(forms) == f"Forms({KEPT_MAX} schemas)"
    assert (
        forms.fault(b'{"minimum": 68}', "67") == forms.fault(b'{"minimum": 68}', "67") == "its top: against 'minimum'"
    )


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (r"ANSWER: \d+", "so: ANSWER: 4", True),
        ("x", "four", False),
        ("(a|b|ab)*[cd]$", "ab" * 3_000, "the pattern takes too long on it"),
        ("(", "x", "the pattern cannot be read"),
    ],
)
def test_a_pattern_has_a_time_limit(pattern: str, text: str, found: bool | str) -> None:
    assert Forms().finds(pattern, text) == found
