from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from proxy.providers.simulated_answer import Draw, Function, by_tool, in_json, in_words, value_for


def value(schema: object, key: bytes = b"k") -> Any:
    return json.loads(value_for(Raw(json.dumps(schema).encode()), Draw(key)))


def test_a_draw_depends_on_its_key_alone_and_is_spread_as_it_says() -> None:
    first, again, other = (Draw(key) for key in (b"a", b"a", b"b"))
    shares = [first.share() for _ in range(4000)]
    assert shares == [again.share() for _ in range(4000)]
    assert shares[:10] != [other.share() for _ in range(10)]
    assert min(shares) >= 0 and max(shares) < 1 and abs(sum(shares) / 4000 - 0.5) < 0.03
    lengths = sorted(first.log_normal(20, 0.5) for _ in range(4000))
    assert 19 < lengths[2000] < 21
    assert 0.4 < sum(length > 20 for length in lengths) / 4000 < 0.6


def test_a_sigma_of_zero_is_the_median() -> None:
    assert Draw(b"x").log_normal(3.5, 0) == 3.5


def test_words_are_as_many_as_asked_for_or_allowed() -> None:
    free, limited = in_words(Draw(b"w"), 20, tokens_max=None), in_words(Draw(b"w"), 20, tokens_max=5)
    assert (len(free.pieces), free.finish_reason) == (20, "stop")
    assert (len(limited.pieces), limited.finish_reason) == (5, "length")
    assert free.text.startswith(limited.text)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "object", "properties": {"a": {"const": 7}, "b": {"enum": ["x"]}}}, {"a": 7, "b": "x"}),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 3}, [True, True, True]),
        ({"type": "integer", "minimum": 41, "maximum": 41}, 41),
        ({"type": ["null", "boolean"]}, True),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, True),
        ({"allOf": [{"type": "boolean"}]}, True),
        ({"$ref": "#/$defs/Yes", "$defs": {"Yes": {"type": "boolean"}}}, True),
        ({"type": "string", "format": "date"}, "2026-01-31"),
        ({"type": "null"}, None),
        ({}, {}),
        ({"type": 5}, {}),
        ({"$ref": "#/$defs/Missing"}, None),
    ],
)
def test_a_value_fits_its_schema(schema: object, expected: object) -> None:
    assert value(schema) == expected


def test_a_long_enough_text_is_made_and_an_absurd_one_is_not() -> None:
    assert len(value({"type": "string", "minLength": 50})) == 50
    assert len(value({"type": "string", "minLength": 10**9})) <= 10_000
    assert len(value({"type": "array", "items": {"type": "null"}, "minItems": 10**9})) <= 64


def test_a_schema_that_refers_to_itself_ends() -> None:
    node = {"type": "object", "properties": {"left": {"$ref": "#/$defs/N"}, "right": {"$ref": "#/$defs/N"}}}
    assert value({"$ref": "#/$defs/N", "$defs": {"N": node}})
    endless = {"$defs": {"N": {**node, "required": ["left"]}}, "$ref": "#/$defs/N"}
    assert value(endless)


def test_structured_answers_and_arguments_come_in_pieces_and_may_be_cut() -> None:
    schema = Raw(b'{"type":"object","properties":{"why":{"type":"string"}}}')
    assert set(json.loads(in_json(Draw(b"j"), schema, tokens_max=None).text)) == {"why"}
    assert in_json(Draw(b"j"), schema, tokens_max=2).finish_reason == "length"
    called = by_tool(Draw(b"t"), Function("f", schema), tokens_max=None)
    assert (called.tool, called.finish_reason, called.pieces[0]) == ("f", "tool_calls", "")
    assert set(json.loads(called.text)) == {"why"}
    assert json.loads(in_json(Draw(b"j"), None, tokens_max=None).text)
