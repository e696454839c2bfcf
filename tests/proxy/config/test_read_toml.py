from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.file import parse
from proxy.config.read_toml import read
from proxy.config.tree import Mapped, Scalar, SyntaxProblem

TEXT = """\
data_dir = "x"

[server]
port = 8_080
[models.qwen]
mode = "single"
[[models.qwen.targets]]
provider = "a"
[[models.qwen.targets]]
provider = "b"
weight = 3
[models."gpt-5.5"]
targets = [
  "a/b",
]
[defaults]
retry.budget = 0.10
[[keys]]
key = 1979-05-27
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("data_dir",), 1),
        (("server",), 3),
        (("server", "port"), 4),
        (("models", "qwen", "targets", 0, "provider"), 8),
        (("models", "qwen", "targets", 1, "provider"), 10),
        (("models", "qwen", "targets", 1, "weight"), 11),
        (("models", "gpt-5.5"), 12),
        (("models", "gpt-5.5", "targets"), 13),
        (("models", "gpt-5.5", "targets", 0), 13),
        (("defaults", "retry", "budget"), 17),
        (("keys", 0, "key"), 19),
    ],
)
def test_every_value_knows_its_line(path: tuple[str | int, ...], line: int) -> None:
    assert parse(TEXT, "x.toml", {}).places[path].line == line


def test_numbers_keep_their_digits_and_dates_are_text() -> None:
    values = parse(TEXT, "x.toml", {}).values
    assert values["server"] == {"port": 8080}
    assert values["keys"] == [{"key": "1979-05-27"}]
    assert read("a = 0.10") == Mapped(((Scalar("a", 1, plain=False), Scalar("0.10", 1, plain=True)),), 1)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a = 1\na = 2\n", 2, "not valid TOML: Cannot overwrite a value"),
        ("a = \n", 1, "not valid TOML: Invalid value"),
        ("a = " + "[" * 70 + "]" * 70, 1, "nested deeper than 64 levels"),
    ],
)
def test_what_is_not_toml_is_refused_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(SyntaxProblem) as refusal:
        read(text)
    assert (refusal.value.problem.line, refusal.value.problem.message) == (line, message)


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a = " + "9" * 5000, "a = 9999-99-99"])
def test_what_is_out_of_all_bounds_is_refused(text: str) -> None:
    with pytest.raises(SyntaxProblem):
        read(text)


@given(st.text("[]{}=.\"'\n #abc019-_,:\\", max_size=60))
def test_any_text_is_a_tree_or_a_syntax_problem(text: str) -> None:
    try:
        tree = read(text)
    except SyntaxProblem as refusal:
        assert refusal.problem.message  # noqa: PT017
    else:
        assert isinstance(tree, Mapped)
