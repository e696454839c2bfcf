"""What an upstream's reply says of its limits: how many requests and tokens remain, of how many, until when.

Names as OpenAI, Azure, Groq and others send them, as Mistral, as Together, and as Anthropic do. A time until the reset
is given back as it stands: its many forms are read by `hints`, and only when somebody wants to know.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from msgspec import Struct

PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-", "x-tokenlimit-")
DIGITS_MAX = 15

Kind = Literal["requests", "tokens"]
KINDS: tuple[Kind, ...] = ("requests", "tokens")


class Said(Struct, frozen=True):
    kind: Kind
    remaining: int
    limit: int | None
    reset: str  # "": not said


Form = tuple[Kind, str, str, str]


def _anthropic(kind: Kind, name: str) -> Form:
    prefix = f"anthropic-ratelimit-{name}-"
    return (kind, prefix + "remaining", prefix + "limit", prefix + "reset")


# (kind, remaining, limit, reset); of several that say the same kind, the one that leaves the smallest share counts
FORMS: tuple[Form, ...] = (
    ("requests", "x-ratelimit-remaining-requests", "x-ratelimit-limit-requests", "x-ratelimit-reset-requests"),
    ("tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-limit-tokens", "x-ratelimit-reset-tokens"),
    ("requests", "x-ratelimit-remaining-req-minute", "x-ratelimit-limit-req-minute", ""),
    ("tokens", "x-ratelimit-remaining-tokens-minute", "x-ratelimit-limit-tokens-minute", ""),
    ("requests", "x-ratelimit-remaining", "x-ratelimit-limit", "x-ratelimit-reset"),
    ("tokens", "x-tokenlimit-remaining", "x-tokenlimit-limit", "x-tokenlimit-reset"),
    _anthropic("requests", "requests"),
    _anthropic("tokens", "tokens"),
    _anthropic("tokens", "input-tokens"),
    _anthropic("tokens", "output-tokens"),
)


REMAINING: Mapping[str, Form] = MappingProxyType({form[1]: form for form in FORMS})


def said(headers: Mapping[str, str]) -> list[Said]:
    """Names of headers are in lower case. Numbers that make no sense are as good as absent."""
    found: list[Said] = []
    for name, text in headers.items():
        form = REMAINING.get(name)
        if form is not None and (number := _whole(text)) is not None:
            kind, _, limit, reset = form
            found.append(Said(kind, number, _whole(headers.get(limit, "")), headers.get(reset, "")))
    if len(found) < 2:
        return found
    by_kind = [[each for each in found if each.kind == kind] for kind in KINDS]
    return [min(each, key=_share) for each in by_kind if each]


def _share(said: Said) -> float:
    return said.remaining / said.limit if said.limit else 1.0


def _whole(text: str) -> int | None:
    """Some vendors write whole numbers with a fraction; negative ones mean that nothing remains."""
    if not text.isdecimal():
        text = text.strip().partition(".")[0]
        if not text.removeprefix("-").isdecimal():
            return None
    return max(0, int(text)) if len(text) <= DIGITS_MAX else None
