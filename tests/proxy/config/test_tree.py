from __future__ import annotations

import math
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.tree import Integer, Number, paths, shown, typed


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("", None),
        ("~", None),
        ("null", None),
        ("42", 42),
        ("-7", -7),
        ("2.50", 2.5),
        ("1E2", 100.0),
    ],
)
def test_plain_scalars_have_the_types_of_the_core_schema(text: str, value: object) -> None:
    assert typed(text) == value
    assert type(typed(text)) in (type(value), Integer, Number)


SURPRISES = "yes no on off y 12:30:00 0o17 0x1f 007 00.5 1_000 9999999999999999999 1e999 .inf .nan 1. .5 2024-10-21"


@pytest.mark.parametrize("text", SURPRISES.split(" "))
def test_what_other_readers_convert_by_surprise_stays_text(text: str) -> None:
    assert typed(text) == text


@pytest.mark.parametrize("text", ["3.10", "1E2", "+5", "12345678901234567"])
def test_a_number_remembers_how_it_was_written(text: str) -> None:
    value = typed(text)
    assert isinstance(value, Integer | Number)
    assert value.written == text
    assert deepcopy(value).written == text


@given(st.text())
def test_typing_never_fails_and_never_invents_infinity(text: str) -> None:
    value = typed(text)
    assert not (isinstance(value, float) and not math.isfinite(value))


def test_a_path_is_shown_with_dots_and_odd_names_in_quotes() -> None:
    assert shown(("models", "qwen", "targets", 1, "weight")) == "models.qwen.targets.1.weight"
    assert shown(("models", "openai/*")) == "models.openai/*"
    assert shown(("a\x1b[31m",)) == r"'a\x1b[31m'"


def test_paths_names_everything_inside_a_value() -> None:
    assert list(paths({"a": [1, {"b": 2}]}, ("x",))) == [
        ("x",),
        ("x", "a"),
        ("x", "a", 0),
        ("x", "a", 1),
        ("x", "a", 1, "b"),
    ]
