"""What the three file formats are read into: a tree whose every node knows its line.

YAML, JSON and TOML differ only in how they make this tree; references to the environment, duplicate keys and the types
of scalars are decided once, in `config.file`. Types follow YAML 1.2's core schema, narrowed: no `yes` and `no`, no
sexagesimals, no octals, no dates; `on` and `off` stay text, and the fields that are switches accept them. A number
remembers how it was written, so that `3.10` is still `3.10` where text is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Union

from msgspec import Struct

DEPTH_MAX = 64

Value = Union[None, bool, int, float, str, list["Value"], dict[str, "Value"]]  # noqa: UP007  # it names itself
Path = tuple[str | int, ...]

_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]{0,31})(\.[0-9]{1,32}([eE][-+]?[0-9]{1,2})?|[eE][-+]?[0-9]{1,2})")
_WORDS: Mapping[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._/*:@+-]{1,256}")


class Scalar(Struct, frozen=True):
    text: str
    line: int | None
    plain: bool  # not quoted: its text decides its type


class Sequence(Struct, frozen=True):
    items: tuple[Node, ...]
    line: int | None


class Mapped(Struct, frozen=True):
    """A mapping with all its pairs, equal keys included."""

    pairs: tuple[tuple[Scalar, Node], ...]
    line: int | None


Node = Scalar | Sequence | Mapped


class Problem(Struct, frozen=True):
    """One thing that is wrong. `line` None: the line of `path`, or of the nearest block around it."""

    path: Path
    message: str
    line: int | None = None


class SyntaxProblem(Exception):
    """The file is not YAML, JSON or TOML; nothing more can be said about it."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.problem = Problem((), message, line)


class Integer(int):
    """An integer that knows how it was written."""

    written: str


class Number(float):
    """A number that knows how it was written."""

    written: str


def typed(text: str) -> Value:
    """The value of a scalar that was not quoted."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        integer = Integer(text)
        integer.written = text
        return integer
    if _FLOAT.fullmatch(text):
        number = Number(text)
        number.written = text
        return number
    return text


def shown(path: Path) -> str:
    """`models.qwen.targets.1.weight`; a name with odd characters is quoted, so that no terminal obeys it."""
    return ".".join(part if _PLAIN_NAME.fullmatch(part) else ascii(part[:64]) for part in map(str, path))


def paths(value: Value, path: Path) -> Iterator[Path]:
    """The path of the value and of everything inside it."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, item in inside:
        yield from paths(item, (*path, part))
