"""Words of a call as spans have them: lists of messages, each with its parts.

The form is that of OpenTelemetry's semantic conventions for generative AI (`gen_ai.input.messages` and
`gen_ai.output.messages`, in development). It is given what `scribe` has made of the words, and shortens nothing: what
does not fit is left out, since half of a JSON text is none.
"""

from __future__ import annotations

from typing import Final

from msgspec import json

CHARS_MAX: Final = 64 * 1024  # of one attribute
ATTRIBUTES: Final = ("gen_ai.input.messages", "gen_ai.output.messages")


def attributes(request: object, reply: object) -> dict[str, str]:
    """Without those that are empty or too long."""
    told = zip(ATTRIBUTES, (asked(request), answered(reply)), strict=True)
    found = {name: json.encode(messages).decode() for name, messages in told if messages}
    return {name: text for name, text in found.items() if len(text) <= CHARS_MAX}


def asked(request: object) -> list[object]:
    if not isinstance(request, dict):
        return []
    messages = request.get("messages", request.get("input", request.get("prompt")))
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    return [_message(each) for each in messages if isinstance(each, dict)] if isinstance(messages, list) else []


def answered(reply: object) -> list[object]:
    if not isinstance(reply, dict):
        return []
    choices = reply.get("choices")
    if isinstance(choices, list):
        return [_choice(each) for each in choices if isinstance(each, dict)]
    items = reply.get("output")
    return [_message(each) for each in items if isinstance(each, dict)] if isinstance(items, list) else []


def _choice(choice: dict[str, object]) -> dict[str, object]:
    message = choice.get("message")
    said = _message(message if isinstance(message, dict) else {"role": "assistant", "content": choice.get("text")})
    ended = choice.get("finish_reason")
    return said | {"finish_reason": ended} if ended else said


def _message(message: dict[str, object]) -> dict[str, object]:
    content, calls = message.get("content"), message.get("tool_calls")
    parts = content if isinstance(content, list) else [content] if content else []
    told = [_part(part) for part in parts]
    told += [_tool_call(call) for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    return {"role": message.get("role") or "assistant", "parts": told}


def _part(part: object) -> object:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        part = part["text"]
    return {"type": "text", "content": part} if isinstance(part, str) else part


def _tool_call(call: dict[str, object]) -> dict[str, object]:
    made = call.get("function")
    function = made if isinstance(made, dict) else {}
    told = {"id": call.get("id"), "name": function.get("name"), "arguments": function.get("arguments")}
    return {"type": "tool_call", **told}
