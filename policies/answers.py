"""When two answers are the same answer: numbers, option letters, JSON, tool calls and texts in one canonical form each.

Decides nothing about which is right. A long text is compared by what it itself marks as its answer, where it does, and
else as a whole, so that two explanations of one result agree and two essays do not agree by chance. Self-consistency
(Wang et al., ICLR 2023) compares answers in this way.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal, InvalidOperation
from typing import Final

from msgspec import json

from proxy.observed import Said

TEXT_CHARS_MAX: Final = 64 * 1024
_MARKED: Final = re.compile(r"(?:####|\\boxed\{|\b(?:final\s+)?answer(?:\s+is)?\s*[:=]|\banswer\s+is\b)[ \t*$(]*([^\n]+)", re.I)
_LETTER: Final = re.compile(r"\(?([A-Za-z])\)?[.):]?")
_NUMBER: Final = re.compile(r"[-+]?[$\u20ac\u00a3]?\s*(\d[\d,]*(?:\.\d+)?|\.\d+)\s*%?")
_BLANKS: Final = re.compile(r"\s+")
_EDGES: Final = " \t\n.,;:!?\"'`*_()[]{}$"


def normalised(said: Said) -> str:
    """What an answer is compared by; "": it says nothing that could be."""
    if said.tool_calls:
        return "\n".join([f"{call.name} {_json(call.arguments) or call.arguments}" for call in said.tool_calls])
    return folded(said.text)


def folded(text: str) -> str:
    """The canonical form of a text, of what it marks as its answer where it does."""
    text = text[:TEXT_CHARS_MAX].strip()
    structured = _json(_unfenced(text))
    if structured is not None:
        return structured
    marked = _MARKED.findall(text)
    return _value(marked[-1] if marked else text)


def _value(text: str) -> str:
    text = text.strip(_EDGES)
    letter = _LETTER.fullmatch(text)
    if letter is not None:
        return letter.group(1).upper()
    number = _number(text)
    if number is not None:
        return number
    return _BLANKS.sub(" ", unicodedata.normalize("NFKC", text)).casefold()


def _number(text: str) -> str | None:
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    try:
        value = Decimal(found.group(1).replace(",", ""))
    except InvalidOperation:
        return None
    shown = f"{value.normalize():f}"
    return f"-{shown}" if text.startswith("-") and value else shown


def _json(text: str) -> str | None:
    """An object or a list with its members in order; None: it is neither."""
    if not text.startswith(("{", "[")):
        return None
    try:
        return json.encode(json.decode(text), order="sorted").decode()
    except (ValueError, RecursionError):
        return None


def _unfenced(text: str) -> str:
    """JSON that stands in a fence of its own."""
    if not (text.startswith("```") and text.endswith("```")):
        return text
    return text.partition("\n")[2].removesuffix("```").strip()
