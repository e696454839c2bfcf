"""Reads a configuration file into plain values, the place of each, and everything that is wrong with it so far.

`${NAME}` and `${NAME:-default}` stand for the environment, in values only. They are put aside before the file is
parsed and filled in afterwards: so they may stand unquoted anywhere, and what the environment holds can never become
structure. A value that is nothing but one reference has the type of its text, quoted or not (`"${PORT}"` is a number).
Beyond equal keys and missing names this file judges nothing: what the values mean is the schema's business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path as FilePath

from msgspec import Struct

from proxy.config import read_json, read_toml, read_yaml
from proxy.config.error import ConfigError
from proxy.config.tree import Mapped, Node, Path, Problem, Scalar, Sequence, SyntaxProblem, Value, typed

FILE_BYTES_MAX = 8 * 1024 * 1024
READERS: Mapping[str, Callable[[str], Node]] = {".json": read_json.read, ".toml": read_toml.read}

# Private-use characters, legal in all three formats, stand around the number of a reference while the file is parsed.
_OPEN, _CLOSE = "\ue000", "\ue001"
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}\n]*))?\}")
_MALFORMED = re.compile(r"\$\{")
_MARK = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")


class Place(Struct, frozen=True):
    """Where a value comes from: a line of the file, or something else that `origin` names."""

    line: int | None = None
    origin: str | None = None


class Document(Struct, frozen=True):
    """`found`: values from the environment, to be kept out of messages, each with its reference."""

    name: str
    values: dict[str, Value]
    places: Mapping[Path, Place]
    problems: tuple[Problem, ...] = ()
    found: tuple[tuple[str, str], ...] = ()


def read(file: FilePath, environment: Mapping[str, str]) -> Document:
    """Raises ConfigError only when there is nothing to go on with: no file, or no syntax."""
    try:
        text = _text(file)
        return parse(text, str(file), environment)
    except SyntaxProblem as error:
        line = f":{error.problem.line}" if error.problem.line else ""
        raise ConfigError((f"{file}{line} {error.problem.message}",)) from None


def parse(text: str, name: str, environment: Mapping[str, str]) -> Document:
    """The format follows the name's ending; anything but .json and .toml is YAML. Raises SyntaxProblem."""
    if _OPEN in text or _CLOSE in text:
        raise SyntaxProblem("the characters U+E000 and U+E001 are reserved")
    references = tuple(_REFERENCE.finditer(text))
    marks = iter(range(len(references)))
    marked = _REFERENCE.sub(lambda _: f"{_OPEN}{next(marks)}{_CLOSE}", text)
    root = READERS.get(FilePath(name).suffix.lower(), read_yaml.read)(marked)
    if isinstance(root, Scalar) and typed(root.text) is None:
        root = Mapped((), 1)
    if not isinstance(root, Mapped):
        raise SyntaxProblem("the file must hold a mapping, such as `models: ...`", 1)
    reading = _Reading(references, environment)
    values = reading.mapping(root, ())
    return Document(name, values, reading.places, tuple(reading.problems), tuple(reading.found))


def _text(file: FilePath) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise SyntaxProblem(f"cannot be read: {error.strerror}") from None
    except ValueError:  # a NUL in the name
        raise SyntaxProblem("is no name of a file") from None
    if len(data) > FILE_BYTES_MAX:
        raise SyntaxProblem(f"is larger than {FILE_BYTES_MAX} bytes")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise SyntaxProblem("is not UTF-8 text", data.count(b"\n", 0, error.start) + 1) from None


class _Reading:
    """One pass over the tree; collects places and problems beside the values it returns."""

    def __init__(self, references: tuple[re.Match[str], ...], environment: Mapping[str, str]) -> None:
        self._references = references
        self._environment = environment
        self.places: dict[Path, Place] = {}
        self.problems: list[Problem] = []
        self.found: list[tuple[str, str]] = []

    def mapping(self, node: Mapped, path: Path) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for key, item in node.pairs:
            below = (*path, key.text)
            if _MARK.search(key.text):
                self.problems.append(Problem(path, "a name cannot come from the environment", key.line))
            elif key.text in values:
                first = self.places[below].line
                self.problems.append(Problem(below, f"this key is here twice; first at line {first}", key.line))
            else:
                self.places[below] = Place(key.line)
                values[key.text] = self._value(item, below)
        return values

    def _value(self, node: Node, path: Path) -> Value:
        self.places.setdefault(path, Place(node.line))
        if isinstance(node, Mapped):
            return self.mapping(node, path)
        if isinstance(node, Sequence):
            return [self._value(item, (*path, at)) for at, item in enumerate(node.items)]
        return self._scalar(node, path)

    def _scalar(self, node: Scalar, path: Path) -> Value:
        if _MALFORMED.search(node.text):
            message = "a reference must read ${NAME} or ${NAME:-default}"
            self.problems.append(Problem(path, message, node.line))
            return None
        if _OPEN not in node.text:
            return typed(node.text) if node.plain else node.text
        text = _MARK.sub(lambda mark: self._from_environment(int(mark[1]), path, node.line), node.text)
        return typed(text) if node.plain or _MARK.fullmatch(node.text) else text

    def _from_environment(self, number: int, path: Path, line: int | None) -> str:
        name, default = self._references[number].groups()
        value = self._environment.get(name)
        if value:
            self.places[path] = Place(self.places[path].line, f"environment {name}")
            self.found.append((value, f"${{{name}}}"))
            return value
        if default is not None:
            return default  # as in a shell, `:-` also stands in for an empty value
        if value is None:
            message = f"the environment has no {name}; set it, or write ${{{name}:-default}}"
            self.problems.append(Problem(path, message, line))
        return ""
