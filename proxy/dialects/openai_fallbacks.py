"""Models that a client names beside its first: `models`, as OpenRouter's clients send them, `fallbacks` as LiteLLM's.

Reads the names and takes both fields out of the body again: the gate walks the list itself, and an upstream that knew
them would walk it a second time, on the same bill. With them goes `cache`, which is for the gate as well. Whether
anybody may use those models is not asked here.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw

from proxy.dialects.json_body import without
from proxy.errors import ProxyError

FIELDS: Final = ("models", "fallbacks")
NAMES_MAX: Final = 8
NAME_CHARS_MAX: Final = 256

_NAMES = msgspec.json.Decoder(list[str] | None)
_FIELDS = frozenset(FIELDS)
_OURS: Final = frozenset((*FIELDS, "cache"))


def named(fields: dict[str, Raw], model: str) -> tuple[str, ...]:
    """In the client's order, each once, without the model that it asks for anyway. Raises ProxyError."""
    if _FIELDS.isdisjoint(fields):  # as with most calls
        return ()
    found = [name for field in FIELDS if field in fields for name in _names(field, fields[field])]
    return tuple(name for name in dict.fromkeys(found) if name != model)


def taken_out(raw: bytes, fields: dict[str, Raw]) -> tuple[bytes, dict[str, Raw]]:
    """Body and members without what is for the gate alone; the very objects where there is none of it."""
    if _OURS.isdisjoint(fields):  # as with most calls
        return raw, fields
    return without(raw, fields, _OURS)


def _names(field: str, raw: Raw) -> list[str]:
    try:
        names = _NAMES.decode(raw) or []
    except ValueError:
        raise _wrong(field) from None
    if len(names) > NAMES_MAX or not all(0 < len(name) <= NAME_CHARS_MAX and name.isprintable() for name in names):
        raise _wrong(field)
    return names


def _wrong(field: str) -> ProxyError:
    text = f"'{field}' must be a list of at most {NAMES_MAX} names of models, of 1 to {NAME_CHARS_MAX} characters each."
    return ProxyError("invalid_request", text, param=field)
