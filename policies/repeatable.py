"""Which calls may be sent twice at the same time: those that leave nothing behind at the provider but an answer.

A response that is stored, runs in the background or goes on from a stored one would exist twice; so would the deeds of
a tool that the provider runs itself. Whether a second copy is worth its price is not asked here.
"""

from __future__ import annotations

from typing import Final

from msgspec import DecodeError, Raw, Struct, json

from proxy.types import Call

GENERATING: Final = frozenset({"chat", "completions", "responses", "embeddings"})
STATE: Final = frozenset({"store", "background", "previous_response_id", "conversation", "web_search_options"})
NOT_STREAMED: Final = frozenset({"audio", "modalities", "stream_options", "prediction"})
NOTHING: Final = frozenset({b"false", b"null"})
CLIENT_RUN: Final = frozenset({"function", "custom"})


class _Tool(Struct):
    type: str = "function"


_TOOLS = json.Decoder(list[_Tool])


def why_once(call: Call) -> str | None:
    """Why this call must not be sent a second time while the first is under way; None: it may. No tool is looked at."""
    fields = call.head.fields
    if call.endpoint not in GENERATING:
        return f"calls of {call.endpoint} are not repeated"
    if fields is None:
        return "its body is not JSON"
    if call.endpoint == "responses" and bytes(fields.get("store", b"true")) != b"false":
        return "its response is stored unless `store` is false"
    if fields.keys().isdisjoint(STATE):
        return None
    for name in sorted(STATE & fields.keys()):
        if not _says_nothing(fields[name]):
            return f"it keeps or uses state at the provider (`{name}`)"
    return None


def why_tools_once(call: Call) -> str | None:
    """The same of its tools: one that the provider runs may have done something already."""
    tools = (call.head.fields or {}).get("tools")
    if tools is None or bytes(tools) == b"null":
        return None
    try:
        kinds = {tool.type for tool in _TOOLS.decode(tools)}
    except DecodeError:
        return "its tools cannot be read"
    foreign = sorted(kinds - CLIENT_RUN)
    return f"the provider runs its tool `{foreign[0]}`" if foreign else None


def why_whole(call: Call) -> str | None:
    """Why a plain call must be asked for as it is; None: its reply can be put together from a stream."""
    fields = call.head.fields
    if call.endpoint != "chat" or fields is None:
        return "only replies of chat are put together from streams"
    if not fields.keys().isdisjoint(NOT_STREAMED):
        return "its reply holds more than a stream would"
    return why_once(call)


def _says_nothing(value: Raw | None) -> bool:
    return value is None or bytes(value) in NOTHING
