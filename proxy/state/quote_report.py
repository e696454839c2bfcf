"""What `POST /quote` answers and `headgate quote` prints: what a call would do and cost, were it sent now.

Money is integer nano-dollars; a price is pico-dollars for a token.
"""

from __future__ import annotations

from msgspec import Struct

from proxy.types import Price, Rung


class Refused(Struct, frozen=True):
    """As a call would hear it."""

    code: str
    status: int
    message: str
    retry_after_s: float | None = None
    limits: tuple[dict[str, object], ...] = ()  # each limit that stands in the way


class Expected(Struct, frozen=True):
    """From the latest whole answers that the agent got from this target."""

    input_tokens: int
    output_tokens_q50: int
    output_tokens_q95: int
    usd_nanos_q50: int | None  # None: the target has no price
    usd_nanos_q95: int | None


class TargetQuote(Struct, frozen=True):
    target: str
    output_tokens_max: int  # of one choice, as the hold counts them
    clamped: bool  # the upstream would be told that limit, because the money pays no more
    hold_usd_nanos: int
    price_id: str | None
    price: Price | None
    expected: Expected | None  # None: too few answers are known
    refused: Refused | None


class Quote(Struct, frozen=True):
    model: str
    agent: str
    accounts: tuple[str, ...]
    input_tokens_estimate: int
    choices: int
    admitted: bool  # by at least one target
    refused: Refused | None  # whatever target it would go to
    plan: str | None  # in words
    together_usd_nanos: int | None  # held before the first of several members is asked; None: one model answers
    degraded: tuple[Rung, ...]
    targets: list[TargetQuote]  # of a vote those of the members that there is money for
    members: int | None = None  # of a vote, as many as are asked at first; None: there is no vote
    members_paid: int | None = None  # those of them for which there is money; the first is tried in any case
