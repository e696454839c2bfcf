"""The last turns of a conversation as its requests tell them: what the model wrote and asked for, and what came back.

Decides nothing. A request holds all that was before it, so of one whose conversation is known up to a mark only what
stands behind it is decoded: a turn or two, however long the conversation. What cannot be read has no turns. OpenAI API
reference, "Create chat completion" (`messages`) and "Create a model response" (`input`).
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

from proxy.dialects.json_body import loads
from proxy.observed import Mark, ToolUse, Turn, Turns
from proxy.types import Call

TURNS_MAX: Final = 30  # of a conversation that is not known: five times the longest period that is looked for
ITEMS_MAX: Final = 4 * TURNS_MAX
SAMPLE: Final = 256  # bytes in front of a mark, by which it is known again
NO_TURNS: Final = Turns(Mark(0, b""))
_NULL: Final = Raw(b"null")
_TELLING: Final = (b'"assistant"', b'"function_call"')
_FIELDS: Final = {"chat": "messages", "responses": "input"}


class _Function(Struct, gc=False):
    name: str | None = None
    arguments: Raw = _NULL
    input: Raw = _NULL  # of a custom tool


class _Called(Struct, gc=False):
    id: str | None = None
    function: _Function | None = None
    custom: _Function | None = None


class _Item(Struct, gc=False):
    """A message of a chat, or an item of a response's input."""

    role: str | None = None
    type: str | None = None
    content: Raw = _NULL
    tool_calls: list[_Called] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    arguments: Raw = _NULL
    call_id: str | None = None
    output: Raw = _NULL


_LIST: Final = msgspec.json.Decoder(list[Raw])
_ITEM: Final = msgspec.json.Decoder(_Item)
_ITEMS: Final = msgspec.json.Decoder(list[_Item])
_STR: Final = msgspec.json.Decoder(str)


class _Turn:
    """One that is being read."""

    __slots__ = ("answered", "calls", "heard", "results", "text")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.calls: list[tuple[str | None, str, bytes]] = []  # id, tool, arguments
        self.results: dict[str | None, str] = {}
        self.heard: list[str] = []
        self.answered = False  # something came back: what the model writes after it is the next turn

    def read(self) -> Turn:
        uses = [ToolUse(tool, arguments, self.results.get(id, "")) for id, tool, arguments in self.calls]
        return Turn("\n".join(self.text), tuple(uses), "\n".join(self.heard))


def turns(call: Call, mark: Mark | None) -> Turns:
    """Those behind the mark; without one, or where the conversation is another, the last TURNS_MAX."""
    raw = (call.head.fields or {}).get(_FIELDS.get(call.endpoint, ""))
    view = memoryview(b"" if raw is None else raw)
    end = len(view) - 1
    if end < 1 or view[0] != ord("[") or view[end] != ord("]"):
        return NO_TURNS
    try:
        if mark is not None and mark.end <= end and bytes(view[mark.end - len(mark.sample) : mark.end]) == mark.sample:
            items = _behind(view, mark.end)
            return Turns(_mark(view, end) if items else mark, _turns(items), known=True)
        return Turns(_mark(view, end), _turns(_last_items(bytes(view))))
    except (ValueError, RecursionError):
        return NO_TURNS


def _mark(view: memoryview, end: int) -> Mark:
    return Mark(end, bytes(view[max(0, end - SAMPLE) : end]))


def _behind(view: memoryview, at: int) -> list[_Item]:
    """Raises ValueError where the mark does not stand between two items."""
    rest = bytes(view[at:]).lstrip()
    if rest == b"]":
        return []
    if not rest.startswith(b","):
        raise ValueError("the conversation is another")
    return _ITEMS.decode(b"[" + rest[1:])


def _last_items(raw: bytes) -> list[_Item]:
    if not any(word in raw for word in _TELLING):
        return []
    return [_ITEM.decode(item) for item in _LIST.decode(raw)[-ITEMS_MAX:]]


def _turns(items: list[_Item]) -> tuple[Turn, ...]:
    found: list[_Turn] = []
    for item in items:
        writes = item.role == "assistant" or item.type in ("function_call", "custom_tool_call")
        if writes and (not found or found[-1].answered):
            found.append(_Turn())
        if found:
            _add(found[-1], item)
    return tuple([turn.read() for turn in found[-TURNS_MAX:]])


def _add(turn: _Turn, item: _Item) -> None:
    if item.role == "assistant":
        if text := _text(item.content):
            turn.text.append(text)
        for called in item.tool_calls or ():
            function = called.function or called.custom or _Function()
            given = function.arguments if called.custom is None else function.input
            turn.calls.append((called.id, function.name or "", _written(given)))
    elif item.role == "tool" or item.type in ("function_call_output", "custom_tool_call_output"):
        id, told = (item.tool_call_id, item.content) if item.role == "tool" else (item.call_id, item.output)
        turn.results[id] = _text(told)
        turn.answered = True
    elif item.role == "user":
        turn.heard.append(_text(item.content))
        turn.answered = True
    elif item.type in ("function_call", "custom_tool_call"):
        turn.calls.append((item.call_id, item.name or "", _written(item.arguments)))


def _text(raw: Raw) -> str:
    """Of a string, or of a list of parts; what marks its parts for a cache is not told."""
    if bytes(memoryview(raw)[:1]) == b'"':
        return _STR.decode(raw)
    if raw == _NULL:
        return ""
    value = loads(raw)
    parts = value if isinstance(value, list) else [value]
    return "\n".join([_part(part) for part in parts])


def _part(part: object) -> str:
    text = part.get("text") if isinstance(part, dict) else part
    return text if isinstance(text, str) else repr(part)


def _written(raw: Raw) -> bytes:
    """Arguments are JSON in a string; some engines send the object itself."""
    return _STR.decode(raw).encode() if bytes(memoryview(raw)[:1]) == b'"' else bytes(raw)
