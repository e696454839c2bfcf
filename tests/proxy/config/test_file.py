from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.error import ConfigError
from proxy.config.file import Document, Place, parse, read

ENVIRONMENT = {"NAME": "value", "PORT": "9000", "EMPTY": "", "ODD": "a: [b]\n# c", "NESTED": "${NAME}"}


def values(text: str, name: str = "x.yaml") -> dict[str, object]:
    document = parse(text, name, ENVIRONMENT)
    assert document.problems == ()
    return dict(document.values)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: ${NAME}", "value"),
        ('a: "${NAME}"', "value"),
        ("a: '${NAME}'", "value"),
        ("a: pre-${NAME}-post", "pre-value-post"),
        ("a: ${NAME}${PORT}", "value9000"),
        ("a: ${NONE:-default}", "default"),
        ("a: ${NONE:-}", None),
        ("a: ${EMPTY:-default}", "default"),
        ("a: ${EMPTY}", None),
        ("a: x${EMPTY}", "x"),
        ("a: ${PORT}", 9000),
        ('a: "${PORT}"', 9000),
        ("a: ${NONE:-8080}", 8080),
        ('a: "${PORT}0"', "90000"),
        ("a: $NAME", "$NAME"),
    ],
)
def test_references_stand_for_the_environment(text: str, value: object) -> None:
    assert values(text) == {"a": value}


def test_a_reference_may_stand_unquoted_in_a_flow_mapping() -> None:
    assert values("a: {b: ${NAME}, c: ${NONE:-}, d: [${PORT}]}") == {"a": {"b": "value", "c": None, "d": [9000]}}


def test_what_the_environment_holds_never_becomes_structure() -> None:
    assert values("a: ${ODD}\nb: ${NESTED}") == {"a": "a: [b]\n# c", "b": "${NAME}"}


def test_json_and_toml_take_references_inside_their_strings() -> None:
    assert values('{"a": "${PORT}", "b": "${NAME}"}', "x.json") == {"a": 9000, "b": "value"}
    assert values('a = "${PORT}"\nb = "${NAME}"', "x.TOML") == {"a": 9000, "b": "value"}


def test_a_comment_needs_no_environment() -> None:
    assert values("a: 1 # ${MISSING}\n# ${\n") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "path", "line", "message"),
    [
        ("a: 1\nb: ${GONE}\n", ("b",), 2, "the environment has no GONE; set it, or write ${GONE:-default}"),
        ("a: [1,\n ${GONE}]", ("a", 1), 2, "the environment has no GONE; set it, or write ${GONE:-default}"),
        ("a: '${not a name}'", ("a",), 1, "a reference must read ${NAME} or ${NAME:-default}"),
        ("a:\n  ${NAME}: 1\n", ("a",), 2, "a name cannot come from the environment"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", ("b", "c"), 4, "this key is here twice; first at line 3"),
    ],
)
def test_problems_have_path_and_line(text: str, path: tuple[str | int, ...], line: int, message: str) -> None:
    (problem,) = parse(text, "x.yaml", ENVIRONMENT).problems
    assert (problem.path, problem.line, problem.message) == (path, line, message)


def test_all_problems_are_found_at_once() -> None:
    assert len(parse("a: ${X}\nb: ${Y}\na: 2\n", "x.yaml", {}).problems) == 3


def test_every_path_has_its_place() -> None:
    document = parse("a:\n  - b: 1\n    c: ${NAME}\n", "x.yaml", ENVIRONMENT)
    assert document.places == {
        ("a",): Place(1),
        ("a", 0): Place(2),
        ("a", 0, "b"): Place(2),
        ("a", 0, "c"): Place(3, "environment NAME"),
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: 1\nb: \xff\n", ":2 is not UTF-8 text"),
        (b"- a\n", ":1 the file must hold a mapping, such as `models: ...`"),
        (b"text", ":1 the file must hold a mapping, such as `models: ...`"),
        ("a: \ue000".encode(), " the characters U+E000 and U+E001 are reserved"),
        (b"a: \0", " not valid YAML: control characters are not allowed"),
        (b"a: 1\nb: [", ":3 not valid YAML: did not find expected node content"),
    ],
)
def test_a_file_that_is_nothing_at_all_is_refused_in_one_message(tmp_path: Path, data: bytes, message: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(data)
    with pytest.raises(ConfigError) as refusal:
        read(file, {})
    assert refusal.value.messages == (f"{file}{message}",)


@pytest.mark.parametrize(("name", "message"), [("gone", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        read(tmp_path / name, {})
    assert str(refusal.value).endswith(f"cannot be read: {message}")


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(ConfigError, match="is larger than"):
        read(Path("/dev/zero"), {})


@pytest.mark.parametrize("data", [b"\xef\xbb\xbfa: 1\r\nb: ${NAME}\r\n", b"a: 1\nb: value\n"])
def test_windows_files_are_read_alike(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "x.yml"
    file.write_bytes(data)
    document = read(file, ENVIRONMENT)
    assert document.values == {"a": 1, "b": "value"}
    assert document.places[("b",)].line == 2


@given(st.binary(max_size=100) | st.text("${}NAME:-\n [],'\"x", max_size=60).map(str.encode))
def test_any_bytes_are_a_document_or_a_config_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    file.write_bytes(data)
    try:
        document = read(file, ENVIRONMENT)
    except ConfigError as refusal:
        assert refusal.messages  # noqa: PT017
    else:
        assert isinstance(document, Document)
