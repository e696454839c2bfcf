"""What a request's headers say of known answers: whether it takes one, whether its own may be kept, and its own name.

`Cache-Control` as in RFC 9111, 5.2.1, `X-Headgate-Cache` with the same words, the names that Cloudflare's AI Gateway
gave them, and `Idempotency-Key`. Words nobody knows are passed over, as that RFC asks.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from proxy.errors import ProxyError
from proxy.reuse import Reuse

WORDS = ("cache-control", "x-headgate-cache")
NAMES = frozenset((*WORDS, "cf-aig-skip-cache", "cf-aig-cache-ttl", "idempotency-key"))
KEY_CHARS_MAX = 255
SAYS_NOTHING = Reuse()


def reuse_of(headers: Mapping[str, str], body: Reuse | None) -> Reuse | None:
    """With what the body said; None: neither says anything. Names are in lower case. Raises ProxyError."""
    if NAMES.isdisjoint(headers):  # as with most calls
        return body
    says = body or SAYS_NOTHING
    for name in WORDS:
        for word in headers.get(name, "").lower().split(","):
            says = _heeded(says, word.strip())
    if headers.get("cf-aig-skip-cache", "").lower() == "true":
        says = structs.replace(says, read=False, write=False)
    if (ttl_s := _seconds(headers.get("cf-aig-cache-ttl", ""))) is not None:
        says = structs.replace(says, ttl_s=ttl_s)
    if (key := headers.get("idempotency-key")) is not None:
        says = structs.replace(says, key=_checked(key))
    return None if says == SAYS_NOTHING else says


def _heeded(says: Reuse, word: str) -> Reuse:
    if word == "no-cache":
        return structs.replace(says, read=False)
    if word == "no-store":
        return structs.replace(says, write=False)
    if word == "only-if-cached":
        return structs.replace(says, only=True)
    if word == "no-semantic":
        return structs.replace(says, semantic=False)
    if word.startswith("max-age=") and (age_s := _seconds(word.removeprefix("max-age="))) is not None:
        return structs.replace(says, age_s=age_s)
    return says


def _seconds(text: str) -> float | None:
    text = text.strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _checked(key: str) -> str:
    if 0 < len(key) <= KEY_CHARS_MAX and key.isprintable():
        return key
    text = f"Idempotency-Key must be 1 to {KEY_CHARS_MAX} printable characters."
    raise ProxyError("invalid_request", text, param="Idempotency-Key")
