"""Parts of spans."""

from __future__ import annotations

import pytest

from proxy.telemetry.span import Span, Value, add, listed, span_id


def test_an_id_follows_from_the_call_and_what_the_span_is_of() -> None:
    assert span_id("call", "up/model") == span_id("call", "up/model", 1)
    ids = {span_id("call", "a"), span_id("call", "b"), span_id("call", "a", 2), span_id("other", "a")}
    assert len(ids) == 4
    assert all(len(id) == 16 and int(id, 16) >= 0 for id in ids)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("x", {"stringValue": "x"}),
        (7, {"intValue": "7"}),
        (0.5, {"doubleValue": 0.5}),
        (True, {"boolValue": True}),
    ],
)
def test_values_are_written_as_otlp_has_them(value: Value, written: object) -> None:
    assert listed({"name": value}) == [{"key": "name", "value": written}]


def test_attributes_are_added_to_those_that_are_there() -> None:
    span: Span = {"attributes": listed({"a": 1})}
    add(span, {"b": 2})
    assert span["attributes"] == listed({"a": 1, "b": 2})
    bare: Span = {}
    add(bare, {"b": 2})
    assert bare["attributes"] == listed({"b": 2})
