"""How long an answer may become: the output limit that what is left of the money can pay.

The least of the client's limit, the model's and what the money pays at the dearest price within reach, so that a hold
of that size fits exactly. A client that names no limit gets at most what a quarter of the money pays, or four times
the usual length if that is more and payable: one call cannot hold everything. Below the floor a call is not worth
sending. Whether the hold is admitted is decided by `policies.accounts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from pricing.book import PICOS_PER_NANO, hold_usd_nanos
from proxy.types import Price

FLOOR_TOKENS: Final = 64
SILENT_SHARE: Final = 4  # a silent client holds at most the fourth part
SILENT_QUANTILES: Final = 4


class Wish(Struct, frozen=True):
    """What is known of a call's length before it is sent; output counts one choice."""

    input_tokens: int
    stated: int | None = None  # the client's own limit
    model_max: int | None = None
    choices: int = 1
    q95: int | None = None  # output that 95 % of such calls stay below


class Clamp(Struct, frozen=True):
    limit: int | None  # None: nobody named one, and no money is limited
    clamped: bool  # the body must say so


class Unpayable(Struct, frozen=True):
    """The reason `floor`: not even the shortest useful answer can be paid."""

    floor: int
    needed_usd_nanos: int


def output_limit(
    wish: Wish, price: Price | None, *, left_usd_nanos: int | None, floor: int = FLOOR_TOKENS
) -> Clamp | Unpayable:
    """`left_usd_nanos` None: no limit in money on the path."""
    named = [limit for limit in (wish.stated, wish.model_max) if limit is not None]
    if left_usd_nanos is None or price is None:
        return Clamp(min(named, default=None), clamped=False)
    least = min([floor, *named])
    payable = _payable(wish, price, left_usd_nanos)
    if payable is None:  # output is free
        return _clamp(wish, min(named, default=None))
    if payable < least:
        return Unpayable(least, hold_usd_nanos(price, wish.input_tokens, least * wish.choices))
    if wish.stated is None:
        payable = max(least, _share_of_the_silent(wish, price, left_usd_nanos, payable=payable))
    return _clamp(wish, min([payable, *named]))


def _clamp(wish: Wish, limit: int | None) -> Clamp:
    """The body changes only where the limit is below what it says, or, when it is silent, below the model's maximum."""
    said = wish.model_max if wish.stated is None else wish.stated
    return Clamp(limit, clamped=limit is not None and (said is None or limit < said))


def _share_of_the_silent(wish: Wish, price: Price, left_usd_nanos: int, *, payable: int) -> int:
    share = _payable(wish, price, left_usd_nanos // SILENT_SHARE) or 0
    usual = SILENT_QUANTILES * (wish.q95 or 0)
    return usual if share < usual <= payable else share


def _payable(wish: Wish, price: Price, usd_nanos: int) -> int | None:
    """Output tokens of each choice whose hold is at most `usd_nanos`; -1: not even the input; None: output is free."""
    counts: list[int] = []
    for tier in _within_reach(price, wish.input_tokens):
        c_in = max(tier.input_uncached, tier.input_cache_write_5m)
        c_out = max(tier.output, tier.reasoning, tier.output_audio)
        rest = usd_nanos * PICOS_PER_NANO - tier.per_call - wish.input_tokens * c_in
        if rest < 0:
            return -1
        if c_out:
            counts.append(rest // (c_out * wish.choices))
    return min(counts, default=None)


def _within_reach(price: Price, input_tokens: int) -> Iterator[Price]:
    """The tiers of `hold_usd_nanos`, whose inverse this is."""
    yield price
    while price.long_context is not None and input_tokens > (price.long_context_above or 0):
        price = price.long_context
        yield price
