"""What a call may take from its accounts: which they are, how long its answer may be, how much to hold for it.

An attempt holds its estimated input and all the output it is allowed, at the dearest price. The allowance shrinks to
what the money that is left can pay, down to a floor; below that the accounts refuse. What an ended attempt really cost
is `policies.settle`'s word.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from policies import clamp
from policies.clamp import Clamp, Unpayable, Wish
from pricing.book import hold_usd_nanos
from proxy.types import Amounts, Call, Target

OUTPUT_TOKENS_DEFAULT: Final = 4_096  # for a silent client of a model whose maximum is not known
SILENT_ENDPOINTS: Final = frozenset({"embeddings", "moderations", "rerank"})  # they generate nothing


class Allowance(Struct, frozen=True):
    """What one attempt may produce and what is held for that."""

    amounts: Amounts
    output_limit: int  # tokens of one choice, as the hold counts them
    clamped: bool = False  # the upstream must be told the limit: it is below what the client asked for


def path(call: Call) -> tuple[str, ...]:
    """The accounts a call draws on, from the top down; absent levels are skipped. A child run draws from its parent."""
    identity = call.identity
    levels = [f"key:{identity.key_id}", f"agent:{identity.agent}"]
    if identity.team is not None:
        levels.insert(0, f"team:{identity.team}")
    if identity.parent_run is not None and identity.parent_run != identity.run:
        levels.append(f"run:{identity.parent_run}")
    if identity.run is not None:
        levels.append(f"run:{identity.run}")
    return tuple(levels)


def allowance(call: Call, target: Target, left_usd_nanos: int | None = None) -> Allowance:
    """`left_usd_nanos`: what the tightest limit in money has free; None: there is none."""
    fits = _clamp(call, target, left_usd_nanos)
    limit = fits.limit or 0
    output = limit * call.head.choices
    usd_nanos = 0 if target.price is None else hold_usd_nanos(target.price, call.input_tokens_estimate, output)
    amounts = Amounts(usd_nanos, call.input_tokens_estimate + output, requests=1, steps=1, concurrency=1)
    return Allowance(amounts, limit, fits.clamped)


def _clamp(call: Call, target: Target, left_usd_nanos: int | None) -> Clamp:
    if call.endpoint in SILENT_ENDPOINTS:
        return Clamp(None, clamped=False)
    head = call.head
    wish = Wish(
        input_tokens=call.input_tokens_estimate,
        stated=head.output_tokens_max,
        model_max=target.traits.output_tokens_max
        or (OUTPUT_TOKENS_DEFAULT if head.output_tokens_max is None else None),
        choices=head.choices,
    )
    if head.fields is None:  # a form: no limit can be written into it
        left_usd_nanos = None
    fits = clamp.output_limit(wish, target.price, left_usd_nanos=left_usd_nanos)
    # What cannot be paid is asked for nevertheless: the accounts know which of them refuse it, and why.
    return Clamp(fits.floor, clamped=True) if isinstance(fits, Unpayable) else fits
