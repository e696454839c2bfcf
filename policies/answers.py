"""When two answers are the same answer: what a reply has answered is taken out of it and put into one canonical form.

A number is the same however it is grouped or padded, an option is its letter, JSON and tool calls are the same whatever
the order of their members, and of any other text what is left without case, spaces and marks. A text is compared by
what it itself marks as its answer, where it does, and else as a whole: two explanations of one result agree, and two
essays do not agree by chance. Nothing here knows what is right. Whoever runs the operator's patterns is handed in, as
one may take long. After "Self-Consistency Improves Chain of Thought Reasoning" (Wang et al., ICLR 2023).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from typing import Final, Literal

from msgspec import Struct

from proxy.observed import Said, ToolCall

How = Literal["text", "last_line", "regex", "json", "tool_call"]
Find = Callable[[str, str], str | None]
"""The last match of a pattern in a text: its first group, or all of it without one. None: there is none."""

CHARS_MAX: Final = 65_536  # of an answer: of a longer text its end is looked at, where answers stand
_MARK: Final = re.compile(r"####|\banswer(?: is)?[ \t*]{0,4}[:=]|\banswer is\b", re.IGNORECASE)
_BOXED: Final = re.compile(r"\\boxed\{([^{}\n]{1,200})\}")
_FENCED: Final = re.compile(r"```\w{0,16}\n(.*)\n?```", re.DOTALL)
_NUMBER: Final = re.compile(r"([+-]?)[$€£¥]? ?([+-]?)(\d{1,3}(?:,\d{3})+|\d*)(?:\.(\d*))? ?(%?)\.?")
_OPTION: Final = re.compile(r"(?:(?:the )?(?:answer|choice|option)(?: is)?:? ?)?[(\[]?([a-z])[)\]]?[.:]?")
_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d{1,4})\]")
_MARKS: Final = " \t\n*_`$\"'“”‘’«».,;:!?"


class Extraction(Struct, frozen=True):
    """Where in a reply its answer stands. `pattern`: of `regex`; of `json` the path to it, as in `result.items[0]`."""

    how: How = "text"
    pattern: str = ""


ANYWHERE: Final = Extraction()


def never(pattern: str, text: str) -> str | None:
    """For those who have no pattern."""
    return None


def answer_of(said: Said, by: Extraction, find: Find) -> str | None:
    """The answer to compare; None: there is none. Tools to be called are an answer wherever one is looked for."""
    if said.tool_calls:
        return _calls(said.tool_calls)
    if said.refusal is not None or by.how == "tool_call":
        return None
    found = _extracted(said.text[-CHARS_MAX:], by, find)
    return None if found is None else folded(found)


def normalised(said: Said) -> str:
    """What an answer is compared by where nobody has said where it stands; "": it says nothing that could be."""
    return answer_of(said, ANYWHERE, never) or ""


def folded(text: str) -> str | None:
    """One form of all texts that say the same. None: nothing is said."""
    text = unicodedata.normalize("NFKC", text).strip()
    if text[:1] in ("{", "["):
        value = _parsed(text)
        if value is not None:
            return canonical(value)
    small = " ".join(text.strip("*_`\"' \t\n").casefold().split())
    number = _number(small)
    if number is not None:
        return number
    option = _OPTION.fullmatch(small)
    return option[1].upper() if option else small.strip(_MARKS) or None


def canonical(value: object) -> str:
    """JSON with its members in order and without spaces."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _extracted(text: str, by: Extraction, find: Find) -> str | None:
    if by.how == "regex":
        return find(by.pattern, text)
    if by.how == "json":
        return _at(_parsed(_unfenced(text)), by.pattern)
    if by.how == "last_line":
        return next((line for line in reversed(text.splitlines()) if line.strip(_MARKS)), None)
    bare = _unfenced(text)
    if bare[:1] in ("{", "["):
        return bare
    boxed = _BOXED.findall(bare)
    return boxed[-1] if boxed else _marked(bare) or bare


def _marked(text: str) -> str:
    """The rest of the line after the last mark, or the line that follows it. "": nothing is marked."""
    marks = [mark.end() for mark in _MARK.finditer(text)]
    return text[marks[-1] :].lstrip(" \t\n*").partition("\n")[0] if marks else ""


def _number(text: str) -> str | None:
    found = _NUMBER.fullmatch(text)
    if found is None or not (found[3] or found[4]):
        return None
    whole = found[3].replace(",", "").lstrip("0") or "0"
    part = (found[4] or "").rstrip("0")
    size = f"{whole}.{part}" if part else whole
    below = (found[1] == "-") != (found[2] == "-") and size != "0"
    return f"{'-' if below else ''}{size}{found[5]}"


def _calls(calls: tuple[ToolCall, ...]) -> str:
    """Whatever their order: they are made together."""
    return canonical(sorted([call.name, _arguments(call.arguments)] for call in calls))


def _arguments(written: str) -> str:
    value = _parsed(written)
    return written.strip() if value is None else canonical(value)


def _unfenced(text: str) -> str:
    """What stands in the one block of code that is all of a text."""
    text = text.strip()
    fenced = _FENCED.fullmatch(text)
    return fenced[1].strip() if fenced else text


def _parsed(text: str) -> object:
    """None also where it is no JSON: `null` is no answer."""
    try:
        return json.loads(text, parse_float=_figure)
    except (ValueError, RecursionError):
        return None


def _figure(written: str) -> int | float:
    """1.0 is 1."""
    value = float(written)
    return int(value) if value.is_integer() else value


def _at(value: object, path: str) -> str | None:
    for name, index in _STEP.findall(path.removeprefix("$")):
        if name and isinstance(value, dict):
            value = value.get(name)
        elif index and isinstance(value, list) and int(index) < len(value):
            value = value[int(index)]
        else:
            return None
    if value is None:
        return None
    return value if isinstance(value, str) else canonical(value)
