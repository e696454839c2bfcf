from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.read_json import read
from proxy.config.tree import Mapped, Node, Scalar, Sequence, SyntaxProblem

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def plain(node: Node) -> object:
    if isinstance(node, Mapped):
        return {key.text: plain(item) for key, item in node.pairs}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return json.loads(node.text) if node.plain else node.text


@given(JSON.map(lambda value: {"root": value}), st.sampled_from([None, 1]))
def test_it_reads_what_the_standard_library_writes(value: object, indent: int | None) -> None:
    assert plain(read(json.dumps(value, indent=indent))) == value


def test_every_node_knows_its_line() -> None:
    tree = read('{\n "a": 1,\n "b": [\n  "x"]}')
    assert isinstance(tree, Mapped)
    (_, one), (key, items) = tree.pairs
    assert (one.line, key.line) == (2, 3)
    assert items == Sequence((Scalar("x", 4, plain=False),), 3)


def test_equal_keys_are_all_still_there() -> None:
    tree = read('{"a": 1,\n"\\u0061": 2}')
    assert isinstance(tree, Mapped)
    assert [key.text for key, _ in tree.pairs] == ["a", "a"]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('{"a": 1,\n}', 2, "a name in double quotes is expected"),
        ('{"a": 1}\n{}', 2, "text after the end"),
        ('{"a" 1}', 1, "':' is expected"),
        ('{"a": 1 "b": 2}', 1, "',' is expected"),
        ('{"a": NaN}', 1, "a value is expected"),
        ('{"a": 01}', 1, "',' is expected"),
        ('{\n"a": "x', 2, "Unterminated string starting at"),
        ('{"a": "\\ud800"}', 1, "half of a surrogate pair"),
        ("", 1, "a value is expected"),
        ("[" * 70, 1, "nested deeper than 64 levels"),
    ],
)
def test_what_is_not_json_is_refused_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(SyntaxProblem) as refusal:
        read(text)
    assert (refusal.value.problem.line, refusal.value.problem.message) == (line, f"not valid JSON: {message}")


@given(st.text('{}[]:,"\\ \n01e-+.truefalsn', max_size=40))
def test_it_accepts_only_what_the_standard_accepts(text: str) -> None:
    try:
        tree = plain(read(text))
    except SyntaxProblem:
        with pytest.raises(ValueError):
            json.loads(text, parse_constant=lambda name: int(name))
    else:
        assert tree == json.loads(text)
