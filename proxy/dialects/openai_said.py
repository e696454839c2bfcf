"""What a reply says, apart from how it was sent: of each choice its text, its tool calls and why it ended.

Decides nothing: gates, votes and judges do. A reply may be one JSON object or the events of a stream, whole or only its
beginning; what is missing or of another type counts as not said. OpenAI API reference, "The chat completion object",
"The completion object" and "The response object".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.dialects.json_body import dumps, loads
from proxy.dialects.openai_fold import choices_so_far, response_in
from proxy.observed import Said, ToolCall

_NOTHING: dict[str, Any] = {}
_ENDS = {"completed": "stop", "max_output_tokens": "length", "content_filter": "content_filter"}


def said(body: bytes) -> tuple[Said, ...]:
    """One for each choice, in order; none where it says nothing that is understood. Raises ProxyError upstream_broken
    for events that are not JSON, or what an error event means."""
    if not body.lstrip().startswith(b"{"):
        choices = choices_so_far(body)
        last = response_in(body) if not choices else None
        return tuple([_choice(choice) for choice in choices]) if last is None else (_response(last),)
    try:
        whole = loads(body)
    except ValueError:
        return ()
    if isinstance(whole.get("output"), list):
        return (_response(whole),)
    return tuple([_choice(choice) for choice in _dicts(whole.get("choices"))])


def _choice(choice: dict[str, Any]) -> Said:
    message = _dict(choice.get("message"))
    return Said(
        text=_text(message.get("content") if message else choice.get("text")),
        tool_calls=tuple(_calls(message)),
        finish_reason=_string(choice.get("finish_reason")),
        refusal=_string(message.get("refusal")),
        logprob_mean=_mean(_dict(choice.get("logprobs"))),
    )


def _calls(message: dict[str, Any]) -> Iterator[ToolCall]:
    for call in _dicts(message.get("tool_calls")):
        yield _called(_dict(call.get("function")) or _dict(call.get("custom")))
    if function := _dict(message.get("function_call")):  # the form before tools
        yield _called(function)


def _called(function: dict[str, Any]) -> ToolCall:
    return ToolCall(_string(function.get("name")) or "", _written(function.get("arguments", function.get("input"))))


def _response(whole: dict[str, Any]) -> Said:
    items = list(_dicts(whole.get("output")))
    parts = [part for item in items if item.get("type") == "message" for part in _dicts(item.get("content"))]
    calls = [item for item in items if item.get("type") == "function_call"]
    why = _dict(whole.get("incomplete_details")).get("reason", whole.get("status"))
    ended = _ENDS.get(why, why) if isinstance(why, str) else None
    return Said(
        text="".join([_text(part.get("text")) for part in parts]),
        tool_calls=tuple([_called(call) for call in calls]),
        finish_reason="tool_calls" if calls and ended == "stop" else ended,
        refusal="".join([_text(part.get("refusal")) for part in parts]) or None,
    )


def _mean(logprobs: dict[str, Any]) -> float | None:
    """Over the tokens of a chat reply, or of a completion's list."""
    tokens = [token.get("logprob") for token in _dicts(logprobs.get("content"))]
    listed = logprobs.get("token_logprobs")
    tokens = tokens or (listed if isinstance(listed, list) else [])
    known = [float(value) for value in tokens if isinstance(value, int | float) and not isinstance(value, bool)]
    return sum(known) / len(known) if known else None


def _text(value: Any) -> str:
    """Of a string, or of a list of parts."""
    if isinstance(value, str):
        return value
    return "".join([_text(part.get("text")) for part in _dicts(value)])


def _written(value: Any) -> str:
    """Arguments are JSON in a string; some engines send the object itself."""
    return value if isinstance(value, str) else "" if value is None else dumps(value).decode()


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else _NOTHING


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    yield from (item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()
