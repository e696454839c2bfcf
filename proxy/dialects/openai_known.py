"""What a body says of known answers: `cache`, as LiteLLM's clients send it. The gate heeds it and takes it out of the
body, as no upstream knows it.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

from proxy.errors import ProxyError
from proxy.reuse import Reuse

FIELD: Final = "cache"


class _Control(Struct, rename="kebab"):
    no_cache: bool = False
    no_store: bool = False
    ttl: float | None = None  # of its own answer
    s_maxage: float | None = None  # of the answer that it takes


_CONTROL = msgspec.json.Decoder(_Control | None)


def reuse_of(fields: dict[str, Raw]) -> Reuse | None:
    """None: it says nothing. Raises ProxyError."""
    raw = fields.get(FIELD)
    if raw is None:  # as with most calls
        return None
    try:
        control = _CONTROL.decode(raw)
    except ValueError:
        text = "'cache' must be an object of `no-cache`, `no-store` (true or false), `ttl` and `s-maxage` (seconds)."
        raise ProxyError("invalid_request", text, param=FIELD) from None
    if control is None:
        return None
    return Reuse(
        read=not control.no_cache,
        write=not control.no_store,
        age_s=_seconds(control.s_maxage),
        ttl_s=_seconds(control.ttl),
    )


def _seconds(number: float | None) -> float | None:
    return None if number is None else max(0.0, number)
