"""What a reply answered, and whether two answers are the same: equal words for short ones, equal values for JSON.

Two long answers in different words may well say the same; that is not known here, and a judge may be asked.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import DecodeError, Struct, json

SHORT: Final = 80  # characters; whoever answers in so few would have used the same ones
_LETTERS = re.compile(r"[^\W_]+")
_FENCE = re.compile(r"^```\w*\n(.*)\n```$", re.DOTALL)


class _Message(Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[object] | None = None


class _Choice(Struct):
    message: _Message
    finish_reason: str | None = None


class _Reply(Struct):
    choices: list[_Choice]
    model: str | None = None


_REPLY = json.Decoder(_Reply)


class Answer(Struct, frozen=True):
    """The one answer of a whole chat reply."""

    text: str
    model: str = ""  # by the name that the upstream gave it
    finish_reason: str | None = None
    refused: bool = False
    calls_tools: bool = False
    body: bytes = b""  # of the whole reply

    def __repr__(self) -> str:
        """Without the text."""
        return f"Answer({len(self.text)} characters, {self.finish_reason!r})"


def answer_of(body: bytes) -> Answer | None:
    """None: it is not one answer in text."""
    try:
        reply = _REPLY.decode(body)
    except DecodeError:
        return None
    if len(reply.choices) != 1:
        return None
    choice = reply.choices[0]
    said = choice.message
    return Answer(
        text=said.content or "",
        model=reply.model or "",
        finish_reason=choice.finish_reason,
        refused=bool(said.refusal),
        calls_tools=bool(said.tool_calls),
        body=body,
    )


def same(one: str, other: str) -> bool | None:
    """Whether two answers are the same; None: that cannot be told from their words."""
    if one.strip() == other.strip():
        return True
    left, right = _json(one), _json(other)
    if left is not None or right is not None:
        return left == right
    mine, theirs = _words(one), _words(other)
    if mine and mine == theirs and _marks(one) == _marks(other):
        return True
    return False if max(len(one.strip()), len(other.strip())) <= SHORT else None


def _json(text: str) -> bytes | None:
    """An object or a list in one canonical form."""
    text = text.strip()
    fenced = _FENCE.match(text)
    text = fenced.group(1).strip() if fenced else text
    if not text.startswith(("{", "[")):
        return None
    try:
        return json.encode(json.decode(text), order="deterministic")
    except (DecodeError, RecursionError):
        return None


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _LETTERS.findall(text)]


def _marks(text: str) -> str:
    """What changes the meaning of words and figures though it is no letter."""
    return "".join(character for character in text if character in "-+%$€£/*=<>^.,:" and character not in ".,:") + str(
        re.findall(r"\d[.,:]\d", text)
    )
