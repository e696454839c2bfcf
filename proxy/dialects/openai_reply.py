"""A whole reply of an OpenAI upstream: is it one, what was used, and the same reply as a stream.

Checks just what tells a reply of the endpoint from an error page, an error object or a torn body; the rest of it is
between upstream and client. OpenAI API reference, one schema per endpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Raw

from proxy.dialects.base import Reply
from proxy.dialects.json_body import dumps, loads, object_of
from proxy.dialects.openai_error import fault_of, is_fault
from proxy.dialects.openai_text import texts_in, utf8_length
from proxy.dialects.openai_usage import usage_of
from proxy.dialects.openai_usual import usual_reply
from proxy.errors import ProxyError
from proxy.types import Call, Endpoint, Usage

_LISTS: dict[Endpoint, str] = {"chat": "choices", "completions": "choices", "embeddings": "data", "responses": "output"}
_NOT_ALWAYS_JSON = frozenset({"speech", "transcriptions"})  # audio; subtitles and plain text
_NULL = Raw(b"null")
_CHUNKS: dict[Endpoint, str] = {"chat": "chat.completion.chunk", "completions": "text_completion"}


def reply_from(call: Call, body: bytes) -> Reply:
    """Raises ProxyError: upstream_broken, or what an error object in the body means."""
    try:
        return _read(call, body)
    except ValueError:
        if call.endpoint in _NOT_ALWAYS_JSON and body:
            return Reply(body=body, usage=None, text_bytes=len(body))
        raise broken("its body is not one JSON object") from None


def _read(call: Call, body: bytes) -> Reply:
    usual = _usual(body) if call.endpoint in _CHUNKS else None
    return _read_any(call, body) if usual is None else usual


def _usual(body: bytes) -> Reply | None:
    """A reply of the usual form in one typed decode, for a fifth of the time; None for any other."""
    whole = usual_reply(body)
    if whole is None:
        return None
    usage = whole.usage.usage() if whole.usage is not None else None
    if usage is None and whole.usage is not None:
        return None
    choices = whole.choices
    size = sum([utf8_length(text) for choice in choices for text in choice.texts()])
    reason = choices[0].finish_reason if choices else None
    return Reply(body=body, usage=usage, text_bytes=size, finish_reason=reason, tier=whole.service_tier)


def _read_any(call: Call, body: bytes) -> Reply:
    fields = object_of(body)
    if "error" in fields or bytes(fields.get("object", b"")) == b'"error"':
        payload = loads(body)
        if is_fault(payload):
            raise fault_of(payload)
    name = _LISTS.get(call.endpoint)
    if name is not None and not bytes(fields.get(name, b"")).startswith(b"["):
        raise broken(f"its body has no list '{name}'")
    text_bytes, finish_reason = _generated(call.endpoint, fields)
    usage, tier = _usage(fields), loads(fields.get("service_tier", _NULL))
    tier = tier if isinstance(tier, str) else None
    return Reply(body=body, usage=usage, text_bytes=text_bytes, finish_reason=finish_reason, tier=tier)


def stream_of(call: Call, reply: Reply) -> bytes:
    """A whole chat or completions reply as the events a streaming client waits for."""
    kind = _CHUNKS.get(call.endpoint)
    if kind is None:
        raise broken("it sent one JSON reply where a stream was asked")
    whole = loads(reply.body)
    base = {name: value for name, value in whole.items() if name not in ("choices", "usage")} | {"object": kind}
    choices = [choice for choice in whole["choices"] if isinstance(choice, dict)]
    events = [base | {"choices": [part]} for choice in choices for part in _parts(choice)]
    if call.head.include_usage and whole.get("usage") is not None:
        events.append(base | {"choices": [], "usage": whole["usage"]})
    return b"".join(b"data: %b\n\n" % dumps(event) for event in events) + b"data: [DONE]\n\n"


def broken(reason: str) -> ProxyError:
    return ProxyError("upstream_broken", f"The upstream's reply cannot be used: {reason}.")


def _generated(endpoint: Endpoint, fields: dict[str, Raw]) -> tuple[int, str | None]:
    """UTF-8 bytes of generated text, and why it ended."""
    if endpoint == "responses":
        texts = texts_in(loads(fields["output"]))
        status = loads(fields.get("status", _NULL))
        return sum(map(utf8_length, texts)), status if isinstance(status, str) else None
    if endpoint not in _CHUNKS:
        return 0, None
    choices = [choice for choice in loads(fields["choices"]) if isinstance(choice, dict)]
    texts = texts_in([[choice.get("message"), choice.get("text")] for choice in choices])
    reason = choices[0].get("finish_reason") if choices else None
    return sum(map(utf8_length, texts)), reason if isinstance(reason, str) else None


def _usage(fields: dict[str, Raw]) -> Usage | None:
    return usage_of(loads(fields["usage"])) if "usage" in fields else None


def _parts(choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One choice as a first chunk with all it says, and for chat a second with the reason it ended."""
    if not isinstance(choice.get("message"), dict):
        yield choice
        return
    message = {name: value for name, value in choice["message"].items() if value is not None}
    if isinstance(message.get("tool_calls"), list):
        calls = (call for call in message["tool_calls"] if isinstance(call, dict))
        message["tool_calls"] = [{"index": slot} | call for slot, call in enumerate(calls)]
    index = choice.get("index", 0)
    first = {"index": index, "delta": message, "finish_reason": None}
    if choice.get("logprobs") is not None:
        first["logprobs"] = choice["logprobs"]
    yield first
    yield {"index": index, "delta": {}} | {k: v for k, v in choice.items() if k not in ("message", "logprobs")}
