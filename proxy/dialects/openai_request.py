"""A client's request in the OpenAI dialect: what the gate reads from it, and what it changes on the way up.

Reads the few fields that decide routing, money and the shape of the reply; a wrong type there is a 400 that names the
field. Everything else is the upstream's business and travels as it came. OpenAI API reference; multipart only where
files are uploaded.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec import Raw

from proxy.dialects.json_body import loads, members, patch, top_level
from proxy.dialects.multipart import find_fields
from proxy.dialects.openai_fallbacks import named, taken_out
from proxy.dialects.openai_hints import additions
from proxy.dialects.openai_known import reuse_of
from proxy.errors import ProxyError
from proxy.types import Call, Endpoint, Head, Target, Traits

MODERATION_MODEL = "omni-moderation-latest"  # what the API itself takes when none is named
FORM_VALUE_BYTES_MAX = 1024
# Beyond these a figure is no wish but a mistake, or an attempt to hold more money than there is.
TOKENS_MAX = 10_000_000
CHOICES_MAX = 1_024
PROMPTS_MAX = 2_048
MODEL_NAME_MAX = 256

_T = TypeVar("_T")
_STR = msgspec.json.Decoder(str)
_INT = msgspec.json.Decoder(int)
_BOOL = msgspec.json.Decoder(bool)
_NULL = b"null"
_BRACKET = ord("[")
_WITH_FORMS = frozenset({"transcriptions", "images"})
_WITH_USAGE_OPTION = frozenset({"chat", "completions"})
_FORM_FIELDS = frozenset({"model", "stream", "n"})
_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")  # the largest that is given counts
_CHOICES = ("n", "best_of")
_REQUIRED: dict[Endpoint, str] = {"completions": "prompt", "embeddings": "input"}
_ASK_USAGE = b"true"


def read(endpoint: Endpoint, raw: bytes, content_type: str) -> Head:
    if content_type != "application/json":
        media = content_type.partition(";")[0].strip().lower()
        if media == "multipart/form-data" and endpoint in _WITH_FORMS:
            return _read_form(raw, content_type)
        if media not in ("", "text/plain") and not media.endswith(("/json", "+json")):
            text = f"Content-Type must be application/json, not '{media[:64]}'."
            raise ProxyError("unsupported_media_type", text)
    fields, compact = members(raw)
    model = _model(endpoint, fields)
    head = Head(
        model=model,
        stream=_bool(fields, "stream"),
        include_usage=_include_usage(fields),
        choices=_choices(endpoint, fields),
        output_tokens_max=_output_tokens_max(fields),
        fields=fields,
        compact=compact,
        fallbacks=named(fields, model),
        reuse=reuse_of(fields),
    )
    _check_required(endpoint, fields)
    return head


def write(call: Call, target: Target, output_limit: int | None = None) -> bytes:
    """The body for the upstream; the very object that came in if nothing has to change."""
    head = call.head
    if head.fields is None:
        return _write_form(call.raw, head, target.model)
    raw, fields = taken_out(call.raw, head.fields)
    changes: dict[str, bytes] = {}
    if head.model != target.model or "model" not in fields:
        changes["model"] = msgspec.json.encode(target.model)
    if head.folded:
        changes["stream"] = b"true"
    asks = head.stream and (head.folded or not head.include_usage) and target.traits.stream_usage
    if asks and call.endpoint in _WITH_USAGE_OPTION:
        changes["stream_options"] = _asking_for_usage(fields)
    if output_limit is not None:
        changes.update(_limiting(call.endpoint, fields, target.traits, output_limit))
    if call.hints is not None:
        changes.update(additions(fields, call.hints))
    return patch(raw, fields, changes, compact=head.compact and raw is call.raw)


def _limiting(endpoint: Endpoint, fields: dict[str, Raw], traits: Traits, limit: int) -> dict[str, bytes]:
    """The fields that bound the output. What the client gave is lowered where it is above; the upstream's own name for
    it takes the place of any other, which the upstream may not know or not take beside its own."""
    given = {name: _count(fields, name, TOKENS_MAX) for name in _LIMITS if name in fields}
    stated = {name: count for name, count in given.items() if count is not None}
    own = {"chat": traits.output_limit_field, "completions": "max_tokens", "responses": "max_output_tokens"}
    name = own.get(endpoint)
    if name is None or name in stated:
        return {given: b"%d" % limit for given, count in stated.items() if count > limit}
    return {**dict.fromkeys(stated, _NULL), name: b"%d" % min([limit, *stated.values()])}


def _read_form(raw: bytes, content_type: str) -> Head:
    fields = {name: _form_value(name, raw[at]) for name, at in find_fields(raw, content_type, _FORM_FIELDS).items()}
    _check_model(fields.get("model"))
    stream, n = fields.get("stream", "false").lower(), fields.get("n", "1")
    if stream not in ("true", "false", ""):
        raise _wrong("stream", "true or false")
    if not (n.isascii() and n.isdigit() and len(n) <= 4 and 0 < int(n) <= CHOICES_MAX):
        raise _wrong("n", f"an integer from 1 to {CHOICES_MAX}")
    return Head(model=fields["model"], stream=stream == "true", choices=int(n), content_type=content_type)


def _write_form(raw: bytes, head: Head, model: str) -> bytes:
    if head.model == model:
        return raw
    at = find_fields(raw, head.content_type, _FORM_FIELDS)["model"]
    return b"".join((raw[: at.start], model.encode(), raw[at.stop :]))


def _form_value(name: str, value: bytes) -> str:
    try:
        if len(value) <= FORM_VALUE_BYTES_MAX:
            return value.decode()
    except UnicodeDecodeError:
        pass
    raise _wrong(name, f"UTF-8 text of at most {FORM_VALUE_BYTES_MAX} bytes")


def _model(endpoint: Endpoint, fields: dict[str, Raw]) -> str:
    model = _value(fields, "model", _STR, "a non-empty string")
    if model is None and endpoint == "moderations":
        return MODERATION_MODEL
    _check_model(model)
    return model or ""


def _check_model(model: str | None) -> None:
    """The name goes into headers, rows and metrics as it is."""
    if not model or len(model) > MODEL_NAME_MAX or not model.isprintable():
        raise _wrong("model", f"a name of 1 to {MODEL_NAME_MAX} printable characters")


def _check_required(endpoint: Endpoint, fields: dict[str, Raw]) -> None:
    if endpoint == "chat":
        messages = fields.get("messages")
        if messages is None or not _is_array(messages):
            raise _wrong("messages", "an array")
    name = _REQUIRED.get(endpoint)
    if name is not None and (name not in fields or bytes(fields[name]) == _NULL):
        raise ProxyError("invalid_request", f"'{name}' is missing.", param=name)


def _include_usage(fields: dict[str, Raw]) -> bool:
    raw = fields.get("stream_options")
    if raw is None or bytes(raw) == _NULL:
        return False
    options = _options(raw)
    try:
        return _bool(options, "include_usage")
    except ProxyError:
        raise _wrong("stream_options.include_usage", "a boolean") from None


def _asking_for_usage(fields: dict[str, Raw]) -> bytes:
    raw = fields.get("stream_options")
    if raw is None or bytes(raw) == _NULL:
        return b'{"include_usage":true}'
    return patch(bytes(raw), _options(raw), {"include_usage": _ASK_USAGE})


def _options(raw: Raw) -> dict[str, Raw]:
    try:
        return top_level(bytes(raw))
    except ProxyError:
        raise _wrong("stream_options", "an object") from None


def _choices(endpoint: Endpoint, fields: dict[str, Raw]) -> int:
    """Answers that are made, which is more than are returned where the upstream picks the `best_of` them."""
    choices = 1
    for name in _CHOICES:
        if name in fields:
            choices = max(choices, _count(fields, name, CHOICES_MAX) or 1)
    return choices * _prompts(fields) if endpoint == "completions" else choices


def _prompts(fields: dict[str, Raw]) -> int:
    """A completion request may carry several prompts, each answered by its own choices."""
    raw = fields.get("prompt")
    if raw is None or not _is_array(raw):
        return 1
    try:
        items = loads(raw)  # also where one holds a lone surrogate
    except ValueError:
        raise _wrong("prompt", "a text, tokens, or a list of these") from None
    texts_or_lists = sum(isinstance(item, str | list) for item in items)
    if texts_or_lists > PROMPTS_MAX:
        raise _wrong("prompt", f"at most {PROMPTS_MAX} prompts")
    return max(1, texts_or_lists)


def _is_array(value: Raw) -> bool:
    return memoryview(value)[0] == _BRACKET


def _output_tokens_max(fields: dict[str, Raw]) -> int | None:
    """Which of several names an upstream goes by is its own affair, so the money must do for the largest."""
    largest = None
    for name in _LIMITS:
        if name in fields and (limit := _count(fields, name, TOKENS_MAX)) is not None:
            largest = limit if largest is None else max(largest, limit)
    return largest


def _bool(fields: dict[str, Raw], name: str) -> bool:
    return name in fields and _value(fields, name, _BOOL, "a boolean") is True


def _count(fields: dict[str, Raw], name: str, most: int) -> int | None:
    value = _value(fields, name, _INT, f"an integer from 1 to {most}")
    if value is not None and not 1 <= value <= most:
        raise _wrong(name, f"an integer from 1 to {most}")
    return value


def _value(fields: dict[str, Raw], name: str, decoder: msgspec.json.Decoder[_T], expected: str) -> _T | None:
    """None if it is absent or null."""
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        return decoder.decode(raw)
    except ValueError:
        if bytes(raw) == _NULL:
            return None
        raise _wrong(name, expected) from None


def _wrong(param: str, expected: str) -> ProxyError:
    return ProxyError("invalid_request", f"'{param}' must be {expected}.", param=param)
