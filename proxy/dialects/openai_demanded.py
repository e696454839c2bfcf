"""What a request asks of the form of its answer, which errors of tools it tells of, and the same with a critique.

Reads only what gates judge by; what cannot be read asks for nothing, because the request is the upstream's business.
OpenAI API reference: `response_format`, `text.format`, `tools`, `tool_choice`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, structs

from proxy.dialects.json_body import dumps, loads, patch, top_level
from proxy.dialects.openai_text import utf8_length
from proxy.observed import Demand
from proxy.types import Call

LAST_MESSAGES: Final = 24
ERROR_CHARS_MAX: Final = 2_000
DRAFT_CHARS_MAX: Final = 64 * 1024
ERROR_BEGINS: Final = ("error", "traceback (most recent call last)", "exception", '{"error"', "failed:")
CRITIQUE: Final = (
    "A first draft of the answer to this conversation did not pass a check.\n\n"
    "The draft:\n{draft}\n\nWhat the check found: {reason}.\n\n"
    "Answer the conversation again so that this is put right. Do not mention the draft or the check."
)
_OBJECT: Final = b"{"
_NONE: Final = Raw(b"")


class _Function(Struct):
    name: str = ""
    parameters: Raw = _NONE


class _Tool(Struct):
    """Of a chat its `function` or `custom`, of a response the tool itself."""

    type: str = ""
    function: _Function | None = None
    custom: _Function | None = None
    name: str = ""
    parameters: Raw = _NONE


_LIST: Final = msgspec.json.Decoder(list[Raw])
_TOOL: Final = msgspec.json.Decoder(_Tool)


def demanded(call: Call) -> Demand:
    fields = call.head.fields or {}
    kind, schema = _format(fields)
    return Demand(
        json=kind in ("json_object", "json_schema"),
        schema=schema,
        tools=_tools(fields.get("tools")),
        tool_due=_tool_due(fields.get("tool_choice")),
    )


def tool_errors(call: Call) -> tuple[tuple[str, str], ...]:
    """The tool and the text of each error among the last messages, the oldest first."""
    fields, names, found = call.head.fields or {}, {}, []
    for raw in _listed(fields.get("messages"))[-LAST_MESSAGES:]:
        message = _value(raw)
        if not isinstance(message, dict):
            continue
        for made in message.get("tool_calls") or ():
            if isinstance(made, dict) and isinstance(made.get("function"), dict):
                names[made.get("id")] = made["function"].get("name")
        text = message.get("content")
        if message.get("role") == "tool" and isinstance(text, str) and _is_error(text):
            found.append((str(names.get(message.get("tool_call_id")) or ""), text.strip()[:ERROR_CHARS_MAX]))
    return tuple(found)


def revised(call: Call, draft: str, reason: str) -> Call | None:
    """The call that asks again, with a draft of its answer and what is wrong with it. None: it is no chat."""
    fields = call.head.fields
    if call.endpoint != "chat" or fields is None or not bytes(fields.get("messages", b"")).startswith(b"["):
        return None
    messages = bytes(fields["messages"])
    before = messages[: messages.rindex(b"]")]
    comma = b"" if before.strip() == b"[" else b","
    text = CRITIQUE.format(draft=draft[:DRAFT_CHARS_MAX], reason=reason)
    raw = patch(call.raw, fields, {"messages": before + comma + dumps({"role": "user", "content": text}) + b"]"})
    estimate = call.input_tokens_estimate + (utf8_length(text) + 3) // 4
    head = structs.replace(call.head, fields=top_level(raw), compact=False)
    return structs.replace(call, raw=raw, head=head, input_tokens_estimate=estimate)


def _format(fields: dict[str, Raw]) -> tuple[str, bytes | None]:
    """Its type, and the schema as it was written."""
    wanted = _members(fields.get("response_format")) or _members(_members(fields.get("text")).get("format"))
    kind = _value(wanted.get("type"))
    if kind != "json_schema":
        return kind if isinstance(kind, str) else "", None
    schema = bytes(_members(wanted.get("json_schema")).get("schema", wanted.get("schema", _NONE)))
    return kind, schema if schema.startswith(_OBJECT) else None


def _tools(raw: Raw | None) -> dict[str, bytes | None]:
    """The schema of each one's arguments; None: they have none."""
    found: dict[str, bytes | None] = {}
    for each in _listed(raw):
        try:
            tool = _TOOL.decode(each)
        except (ValueError, RecursionError):
            continue
        made = tool.function or tool.custom or _Function(tool.name, tool.parameters)
        schema = bytes(made.parameters if tool.custom is None else _NONE)
        found[made.name] = schema if schema.startswith(_OBJECT) else None
    return found


def _tool_due(raw: Raw | None) -> bool:
    choice = _value(raw)
    if isinstance(choice, dict):
        choice = "required" if choice.get("type") in ("function", "custom") else choice.get("mode")
    return bool(choice == "required")


def _is_error(text: str) -> bool:
    begins = text[:200].lstrip().lower()
    return begins.startswith(ERROR_BEGINS) or '"is_error":true' in begins.replace(" ", "")


def _members(raw: Raw | None) -> dict[str, Raw]:
    try:
        return {} if raw is None else msgspec.json.decode(raw, type=dict[str, Raw])
    except (ValueError, RecursionError):
        return {}


def _listed(raw: Raw | None) -> list[Raw]:
    try:
        return [] if raw is None else _LIST.decode(raw)
    except (ValueError, RecursionError):
        return []


def _value(raw: Raw | None) -> Any:
    try:
        return None if raw is None else loads(raw)
    except ValueError:
        return None
