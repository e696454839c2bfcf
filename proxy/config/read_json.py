"""Reads JSON (RFC 8259) as the tree of `config.tree`: the standard library's reader knows no lines.

Strings are left to the standard library; only the structure is walked here, so that every node knows its line and equal
keys are all still there. Trailing commas, comments, NaN and text after the value are refused, as the standard says.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]  # absent from the type stubs only

from proxy.config.tree import DEPTH_MAX, Mapped, Node, Scalar, Sequence, SyntaxProblem

_SPACE = re.compile(r"[ \t\r\n]*")
_WORD = re.compile(r"true|false|null|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")


def read(text: str) -> Node:
    return _Reader(text).document()


class _Reader:
    """A cursor over the text; every method leaves it behind what it has read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line_ends = [match.start() for match in re.finditer("\n", text)]

    def document(self) -> Node:
        node = self._node(0)
        self._space()
        if self._at < len(self._text):
            raise self._wrong("text after the end")
        return node

    def _node(self, depth: int) -> Node:
        self._space()
        if depth > DEPTH_MAX:
            raise self._wrong(f"nested deeper than {DEPTH_MAX} levels")
        character = self._text[self._at : self._at + 1]
        if character == "{":
            return self._mapping(depth + 1)
        if character == "[":
            return self._sequence(depth + 1)
        return self._string() if character == '"' else self._word()

    def _mapping(self, depth: int) -> Mapped:
        line, pairs = self._line(), list[tuple[Scalar, Node]]()
        while self._another("}", first=not pairs):
            self._space()
            key = self._string()
            self._expect(":")
            pairs.append((key, self._node(depth)))
        return Mapped(tuple(pairs), line)

    def _sequence(self, depth: int) -> Sequence:
        line, items = self._line(), list[Node]()
        while self._another("]", first=not items):
            items.append(self._node(depth))
        return Sequence(tuple(items), line)

    def _another(self, closing: str, *, first: bool) -> bool:
        """Steps over the opening bracket or a comma; False behind the closing bracket."""
        if first:
            self._at += 1
        self._space()
        if self._text.startswith(closing, self._at):
            self._at += 1
            return False
        if not first:
            self._expect(",")
        return True

    def _string(self) -> Scalar:
        line = self._line()
        if not self._text.startswith('"', self._at):
            raise self._wrong("a name in double quotes is expected")
        try:
            text, self._at = scanstring(self._text, self._at + 1)
            text.encode()
        except JSONDecodeError as error:
            raise SyntaxProblem(f"not valid JSON: {error.msg}", error.lineno) from None
        except UnicodeEncodeError:
            raise self._wrong("half of a surrogate pair") from None
        return Scalar(text, line, plain=False)

    def _word(self) -> Scalar:
        match = _WORD.match(self._text, self._at)
        if match is None:
            raise self._wrong("a value is expected")
        line, self._at = self._line(), match.end()
        return Scalar(match[0], line, plain=True)

    def _expect(self, character: str) -> None:
        self._space()
        if not self._text.startswith(character, self._at):
            raise self._wrong(f"{character!r} is expected")
        self._at += 1

    def _space(self) -> None:
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _line(self) -> int:
        return bisect_right(self._line_ends, self._at) + 1

    def _wrong(self, what: str) -> SyntaxProblem:
        return SyntaxProblem(f"not valid JSON: {what}", self._line())
