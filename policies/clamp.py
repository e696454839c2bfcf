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

from pricing.book import MAY_OCCUR, PICOS_PER_NANO, InputClass, hold_usd_nanos
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
    allowed: int | None = None  # the gate's own word, where it allows less than these two
    apart: int = 0  # thinking that the provider does not count in the limit, of each choice
    q95: int | None = None  # output that 95 % of such calls stay below
    otherwise: int | None = None  # where nobody names a limit
    told: bool = False  # then the body must say it, so that what is held is true
    may_occur: tuple[InputClass, ...] = MAY_OCCUR


class Clamp(Struct, frozen=True):
    limit: int | None  # None: nobody named one, and no money is limited
    clamped: bool  # the body must say so


class Unpayable(Struct, frozen=True):
    """The reason `floor`: not even the shortest useful answer can be paid."""

    floor: int


def output_limit(
    wish: Wish, price: Price | None, *, left_usd_nanos: int | None, floor: int = FLOOR_TOKENS
) -> Clamp | Unpayable:
    """`left_usd_nanos` None: no limit in money on the path."""
    named = [limit for limit in (wish.stated, wish.model_max, wish.allowed) if limit is not None]
    told = wish.told and not named and wish.otherwise is not None
    if not named and wish.otherwise is not None:
        named = [wish.otherwise]
    if left_usd_nanos is None or price is None:
        limit = min(named, default=None)
        return Clamp(limit, clamped=told or (limit is not None and limit == wish.allowed))
    least = min([floor, *named])
    payable = _payable(wish, price, left_usd_nanos)
    if payable is None:  # output is free
        return _clamp(wish, min(named, default=None))
    if payable < least:
        return Unpayable(least)
    if wish.stated is None:
        payable = max(least, _share_of_the_silent(wish, price, left_usd_nanos, payable=payable))
    return _clamp(wish, min([payable, *named]))


def _clamp(wish: Wish, limit: int | None) -> Clamp:
    """The body changes only where the limit is below what it says, or, when it is silent, below the model's maximum."""
    said = wish.stated if wish.stated is not None else wish.model_max
    if said is None and not wish.told and wish.allowed is None:
        said = wish.otherwise  # what is held for want of a better figure, and not said
    return Clamp(limit, clamped=limit is not None and (said is None or limit < said))


def _share_of_the_silent(wish: Wish, price: Price, left_usd_nanos: int, *, payable: int) -> int:
    share = _payable(wish, price, left_usd_nanos // SILENT_SHARE) or 0
    usual = SILENT_QUANTILES * (wish.q95 or 0)
    return usual if share < usual <= payable else share


def _hold(wish: Wish, price: Price, limit: int) -> int:
    output = (limit + wish.apart) * wish.choices
    return hold_usd_nanos(price, wish.input_tokens, output, may_occur=wish.may_occur)


def _payable(wish: Wish, price: Price, usd_nanos: int) -> int | None:
    """The limit of each choice whose hold is at most `usd_nanos`; below 0: not even the input; None: output is free."""
    counts: list[int] = []
    for tier in _within_reach(price, wish.input_tokens):
        c_in: int = max([getattr(tier, name) for name in wish.may_occur])
        c_out = max(tier.output, tier.reasoning, tier.output_audio)
        rest = usd_nanos * PICOS_PER_NANO - tier.per_call - wish.input_tokens * c_in
        if rest < 0:
            return -1
        if c_out:
            counts.append(rest // (c_out * wish.choices) - wish.apart)
    return min(counts, default=None)


def _within_reach(price: Price, input_tokens: int) -> Iterator[Price]:
    """The tiers of `hold_usd_nanos`, whose inverse this is."""
    yield price
    while price.long_context is not None and input_tokens > (price.long_context_above or 0):
        price = price.long_context
        yield price
