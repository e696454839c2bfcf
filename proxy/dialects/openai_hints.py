"""What a request of OpenAI's dialect looks like with the gate's hints for a prompt cache: additions at known places.

Fields are added beside the client's own, a marker becomes the last member of a message's last part. Every byte that the
client sent stays, in its order; what is added is known to be absent, which the policy has made sure of. OpenAI API
reference, `prompt_cache_key`, `prompt_cache_retention`; OpenRouter, "Prompt caching", `cache_control`.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw

from proxy.cache_hints import CacheHints
from proxy.dialects.json_body import object_of, patch

_LIST: Final = msgspec.json.Decoder(list[Raw])


def additions(fields: dict[str, Raw], hints: CacheHints) -> dict[str, bytes]:
    """New values of top-level fields."""
    changes: dict[str, bytes] = {}
    if hints.key:
        changes["prompt_cache_key"] = msgspec.json.encode(hints.key)
    if hints.retention:
        changes["prompt_cache_retention"] = msgspec.json.encode(hints.retention)
    marker = b'{"type":"ephemeral"}' if hints.ttl == "5m" else b'{"type":"ephemeral","ttl":"1h"}'
    if hints.whole:
        changes["cache_control"] = marker
    if hints.marked and "messages" in fields:
        changes["messages"] = _marked(bytes(fields["messages"]), hints.marked, marker)
    return changes


def _marked(messages: bytes, places: tuple[int, ...], marker: bytes) -> bytes:
    """The array with a marker in the last part of each of these messages; as it is where it cannot be taken apart."""
    try:
        items = _LIST.decode(messages)
    except msgspec.DecodeError:  # a lone surrogate
        return messages
    out, at = [], 0
    for index, item in enumerate(items):
        start = messages.index(item, at)
        at_end = start + len(memoryview(item))
        if index in places:
            out.append(messages[at:start] + _with_marker(messages[start:at_end], marker))
        else:
            out.append(messages[at:at_end])
        at = at_end
    return b"".join((*out, messages[at:]))


def _with_marker(message: bytes, marker: bytes) -> bytes:
    """A message that names something twice stays as it is: two readers of it could see two different ones."""
    try:
        fields = object_of(message)
        content = bytes(fields["content"])
        end = content.rindex(b"}")  # the last part's last brace
        return patch(message, fields, {"content": b'%b,"cache_control":%b%b' % (content[:end], marker, content[end:])})
    except (ValueError, KeyError):
        return message
