"""Reads TOML 1.0 as the tree of `config.tree`. The standard library reads it, refuses duplicates, and knows no lines.

Lines come from a second look at the text: headers (`[models.qwen]`) and the first line of each `name = value`. What
stands inside an inline table or array has the line of its name. A line that only looks like a name, inside a text of
several lines, can at worst lend its number to a message. Dates are text here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

from proxy.config.tree import DEPTH_MAX, Mapped, Node, Path, Scalar, Sequence, SyntaxProblem

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_NAME = rf"\s*(?P<name>{_PART}(?:\s*\.\s*{_PART})*)\s*"
_HEADER = re.compile(rf"\s*\[(?P<array>\[)?{_NAME}\]")
_PAIR = re.compile(rf"{_NAME}=")
_PARTS = re.compile(_PART)
_AT_LINE = re.compile(r"\(at line ([0-9]+), column [0-9]+\)")


class _Float(str):
    """A number as it was written; `tomllib` would have rounded it."""

    __slots__ = ()


def read(text: str) -> Node:
    try:
        values: object = tomllib.loads(text, parse_float=_Float)
    except tomllib.TOMLDecodeError as error:
        at = _AT_LINE.search(str(error))
        message = _AT_LINE.sub("", str(error)).strip()
        raise SyntaxProblem(f"not valid TOML: {message}", int(at[1]) if at else None) from None
    except (RecursionError, ValueError):  # ValueError: an integer or a date beyond all bounds
        raise SyntaxProblem("not valid TOML: a value is out of bounds, or nested too deep") from None
    return _Tree(_lines(text)).node(values, (), 1)


class _Tree:
    def __init__(self, lines: Mapping[Path, int]) -> None:
        self._lines = lines

    def node(self, value: object, path: Path, line: int) -> Node:
        """`line`: that of the value around it, for what has none of its own."""
        line = self._lines.get(path, line)
        if len(path) > DEPTH_MAX:
            raise SyntaxProblem(f"nested deeper than {DEPTH_MAX} levels", line)
        if isinstance(value, dict):
            return Mapped(tuple(self._pair(key, item, (*path, key), line) for key, item in value.items()), line)
        if isinstance(value, list):
            return Sequence(tuple(self.node(item, (*path, at), line) for at, item in enumerate(value)), line)
        return _scalar(value, line)

    def _pair(self, key: str, value: object, path: Path, line: int) -> tuple[Scalar, Node]:
        return Scalar(key, self._lines.get(path, line), plain=False), self.node(value, path, line)


def _scalar(value: object, line: int) -> Scalar:
    if isinstance(value, bool):
        return Scalar("true" if value else "false", line, plain=True)
    if isinstance(value, int | _Float):
        return Scalar(str(value).replace("_", ""), line, plain=True)
    return Scalar(str(value), line, plain=False)


def _lines(text: str) -> dict[Path, int]:
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _path(header["name"], (), counts)
            if header["array"]:
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            lines.setdefault(table, number)
        elif pair := _PAIR.match(line):
            lines.setdefault(_path(pair["name"], table, counts), number)
    return lines


def _path(name: str, start: Path, counts: Mapping[Path, int]) -> Path:
    """The path of a dotted name; a part that is an array of tables means its latest element."""
    path = start
    parts = _PARTS.findall(name)
    for at, part in enumerate(parts):
        path = (*path, part[1:-1] if part[0] in "\"'" else part)
        if at < len(parts) - 1 and path in counts:
            path = (*path, counts[path])
    return path
