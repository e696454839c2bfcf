"""A streamed reply folded into the whole reply that a client without `stream` waits for.

Pieces of one text are joined, lists grow, tool calls are kept apart by their index however they interleave, and of
anything else the last value stands. Only a stream that came to its end is folded; half an answer is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from proxy.dialects.base import Reply
from proxy.dialects.json_body import dumps, loads
from proxy.dialects.openai_error import fault_of, is_fault
from proxy.dialects.openai_reply import broken, reply_from
from proxy.dialects.openai_responses import ENDS, failed
from proxy.dialects.sse import DONE, Splitter, fields_of
from proxy.types import Call, Endpoint

_KINDS = {"chat": "chat.completion", "completions": "text_completion"}
_TEXTS = frozenset({"content", "reasoning_content", "reasoning", "refusal", "arguments", "text", "transcript", "data"})


class _Text(list[str]):
    """Pieces of a text that is still growing."""


class _Slots(dict[int, dict[str, Any]]):
    """Growing objects by their index."""


def reply_of(call: Call, stream: bytes) -> Reply:
    """Raises ProxyError: upstream_broken if it is cut or no stream, or what an error event in it means."""
    events = list(_events(stream))
    for event in events:
        if is_fault(event):
            raise fault_of(event)
    if call.endpoint == "responses":
        response = _last_response(events)
        if response is None:
            raise broken("its stream was cut")
        return reply_from(call, dumps(response))
    kind = _KINDS.get(call.endpoint)
    if kind is None:
        raise broken("it sent a stream where one JSON reply was asked")
    whole: dict[str, Any] = {}
    choices = _Slots()
    for event in events:
        _grow(choices, event.pop("choices", None))
        whole |= {name: value for name, value in event.items() if value is not None or name not in whole}
    complete = sum(bool(choice.get("finish_reason")) for choice in choices.values()) >= call.head.choices
    if not events or not (complete or _is_marked(stream)):
        raise broken("its stream was cut")
    whole |= {"object": kind, "choices": [_finished(choice) for _, choice in sorted(choices.items())]}
    return reply_from(call, dumps(whole))


def choices_so_far(stream: bytes) -> list[dict[str, Any]]:
    """As far as they have come, in the form of a whole reply. Raises ProxyError upstream_broken if it is no stream."""
    choices = _Slots()
    for event in _events(stream):
        _grow(choices, event.get("choices"))
    return [_finished(choice) for _, choice in sorted(choices.items())]


def so_far(endpoint: Endpoint, stream: bytes) -> object:
    """As `base.Dialect` has it. Of the responses endpoint the last event carries all of it, or else its texts."""
    if endpoint != "responses":
        return {"choices": choices_so_far(stream)}
    events = list(_events(stream))
    whole = next((event["response"] for event in events if event.get("type") in ENDS and "response" in event), None)
    return whole or {"output_text": "".join([text for event in events if isinstance(text := event.get("delta"), str)])}


def response_in(stream: bytes) -> dict[str, Any] | None:
    """The whole reply that the last event of a stream of the responses endpoint carries. Raises ProxyError."""
    return _last_response(_events(stream))


def _last_response(events: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    for event in events:
        response = event.get("response")
        error = failed(event)
        if error is not None:
            raise fault_of(error)
        if event.get("type") in ENDS and isinstance(response, dict):
            return response
    return None


def _events(stream: bytes) -> Iterator[dict[str, Any]]:
    for _, data in _fields(stream):
        if not data or data.strip() == DONE:
            continue
        try:
            payload = loads(data)
        except ValueError:
            raise broken("an event of its stream is not JSON") from None
        if isinstance(payload, dict):
            yield payload


def _is_marked(stream: bytes) -> bool:
    return any(data.strip() == DONE for _, data in _fields(stream))


def _fields(stream: bytes) -> Iterator[tuple[bytes, bytes]]:
    splitter = Splitter()
    yield from map(fields_of, splitter.feed(stream))
    yield fields_of(splitter.close())


def _grow(slots: _Slots, pieces: object) -> None:
    """Each piece says which slot it belongs to. One that does not opens a new slot if it has an id, else it belongs
    to the last."""
    for piece in pieces if isinstance(pieces, list) else ():
        if isinstance(piece, dict):
            index = piece.get("index")
            if not isinstance(index, int):
                index = max(slots, default=-1 if piece.get("id") else 0) + bool(piece.get("id"))
            _merge(slots.setdefault(index, {}), piece)


def _merge(into: dict[str, Any], piece: dict[str, Any]) -> None:
    for name, new in piece.items():
        old = into.get(name)
        if new is None or (new == "" and old is not None):
            into.setdefault(name, new)
        elif name in _TEXTS and isinstance(new, str):
            _append(into, name, new)
        elif name == "tool_calls":
            if not isinstance(old, _Slots):
                old = into[name] = _Slots()
            _grow(old, new)
        elif isinstance(new, dict) and isinstance(old, dict | None):
            if old is None:
                old = into[name] = {}
            _merge(old, new)
        elif isinstance(new, list) and isinstance(old, list):
            old.extend(new)
        else:
            into[name] = new


def _append(into: dict[str, Any], name: str, piece: str) -> None:
    old = into.get(name)
    if isinstance(old, _Text):
        old.append(piece)
    else:
        into[name] = _Text([piece])


def _finished(choice: dict[str, Any]) -> dict[str, Any]:
    """A folded choice in the form of a whole reply."""
    closed: dict[str, Any] = _closed(choice)
    if "delta" in closed or "text" not in closed:
        message = {"role": "assistant", "content": None} | closed.pop("delta", {})
        closed = {"index": closed.pop("index", 0), "message": message} | closed
    return closed


def _closed(value: Any) -> Any:
    if isinstance(value, _Text):
        return "".join(value)
    if isinstance(value, _Slots):
        return [_closed({k: v for k, v in slot.items() if k != "index"}) for _, slot in sorted(value.items())]
    if isinstance(value, dict):
        return {name: _closed(inner) for name, inner in value.items()}
    return value
