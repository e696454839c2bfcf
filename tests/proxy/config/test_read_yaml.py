from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.read_yaml import read
from proxy.config.tree import Mapped, Scalar, Sequence, SyntaxProblem


def test_every_node_knows_its_line_and_whether_it_was_quoted() -> None:
    tree = read("a: 1\nb:\n  - x\n  - 'y'\n")
    assert isinstance(tree, Mapped)
    (_, first), (key, items) = tree.pairs
    assert first == Scalar("1", 1, plain=True)
    assert key == Scalar("b", 2, plain=True)
    assert items == Sequence((Scalar("x", 3, plain=True), Scalar("y", 4, plain=False)), 3)


def test_equal_keys_are_all_still_there() -> None:
    tree = read("a: 1\na: 2\n")
    assert isinstance(tree, Mapped)
    assert [key.line for key, _ in tree.pairs] == [1, 2]


def test_an_empty_file_configures_nothing() -> None:
    assert read("") == Mapped((), 1)
    assert read("# only a comment\n") == Mapped((), 1)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: *x\n", 2, "aliases are not read; write the value out"),
        ("a: &x 1\n", 1, "anchors are not read; write the value out"),
        ("a: 1\n---\nb: 2\n", 2, "only one document is read; remove the `---`"),
        ("a: !!int '3'\n", 1, "tags are not read; quote the value if it is text"),
        ("a: !python/object:os.system x\n", 1, "tags are not read; quote the value if it is text"),
        ("a: {}\n<<: {b: 1}\n", 2, "merge keys are not read; write the keys out"),
        ("? [a]\n: 1\n", 1, "the key of a mapping must be text"),
        ("a: 1\nb: [1,\n", 3, "not valid YAML: did not find expected node content"),
        ("a: 'x\n", 2, "not valid YAML: found unexpected end of stream"),
        ("\ta: 1\n", 1, "not valid YAML: found character that cannot start any token"),
        ("a: " + "[" * 70 + "]" * 70, 1, "nested deeper than 64 levels"),
    ],
)
def test_what_is_not_plain_data_is_refused_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(SyntaxProblem) as refusal:
        read(text)
    assert (refusal.value.problem.line, refusal.value.problem.message) == (line, message)


def test_an_alias_bomb_is_refused_at_its_first_anchor() -> None:
    bomb = "a: &a [x]\n" + "".join(
        f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)
    )
    with pytest.raises(SyntaxProblem, match="anchors are not read"):
        read(bomb)


def test_deep_nesting_is_refused_before_it_exhausts_anything() -> None:
    with pytest.raises(SyntaxProblem):
        read("[" * 100_000)


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=200) | st.text("{}[]:,-&*!|>'\"\n #%@?ab1"))
def test_any_text_is_a_tree_or_a_syntax_problem(text: str) -> None:
    try:
        tree = read(text)
    except SyntaxProblem as refusal:
        assert refusal.problem.message  # noqa: PT017
    else:
        assert isinstance(tree, Mapped | Sequence | Scalar)
