"""What the ledger's tools answer: verification of the chain, attempts for an export, corrections by a provider's bill.

Money is integer nano-dollars, instants are milliseconds since 1970 (`_ms`) or UTC in ISO 8601 (`at`). Hashes are
hexadecimal. Names come from clients: they are data, nothing else.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Correction = Literal["booked", "repeated", "unknown"]


class Break(Struct, frozen=True):
    """The first place at which the chain does not hold."""

    seq: int
    why: str


class Verified(Struct, frozen=True):
    """One stretch of the chain, up to the row `seq`."""

    checked: int  # rows whose hash is what it has to be
    unchained: int  # rows from before there was a chain
    seq: int
    hash: str  # of that row; "" when it has none
    more: bool
    expected_seq: int | None = None  # the row that has the hash that was asked for
    broken: Break | None = None


class AttemptRow(Struct, frozen=True):
    """One attempt with what is known of its call. `number` 0: the call was answered without any, and cost nothing."""

    seq: int  # of the call
    request_id: str
    at: str  # when the call arrived
    at_ms: int
    key_id: str
    team: str | None
    agent: str
    agent_source: str  # `gate`: a call of the gate's own, on behalf of the agent
    run: str | None
    parent_run: str | None
    step: int | None
    tags: str | None
    endpoint: str
    model: str
    served_by: str
    number: int
    role: str  # of number 0: as `served_by`, and of whom it was not asked nothing is said
    target: str
    provider: str
    upstream_model: str
    started_s: float
    duration_s: float
    lesson: str
    status: int | None
    error_code: str | None
    upstream_request_id: str | None
    input_uncached: int | None
    input_cached: int | None
    input_cache_write_5m: int | None
    input_cache_write_1h: int | None
    input_audio: int | None
    input_image: int | None
    output: int | None
    reasoning: int | None
    output_audio: int | None
    usage_source: str | None  # None: nothing was billed
    usage_flags: str | None
    price_id: str | None
    held_usd_nanos: int
    cost_usd_nanos: int | None  # None: unpriced
    exposure_usd_nanos: int  # what it may have cost beyond that
    idle_usd_nanos: int  # the part of the cost that pays for an own engine that stood idle
    adjusted_usd_nanos: int  # what became known later


class AttemptPage(Struct, frozen=True):
    """All attempts of some calls, in the order of the ledger."""

    rows: list[AttemptRow]
    after: int | None  # gives the next page; None: this is the last one
    since_ms: int | None
    until_ms: int | None


class Unresolved(Struct, frozen=True):
    """A call whose end a crash has swallowed, and what was held for it; of that, what was marked counts as spent."""

    request_id: str
    at_ms: int  # when the hold was taken; when it was given up, where that is not known
    usd_nanos: int


class UnresolvedPage(Struct, frozen=True):
    rows: list[Unresolved]
    truncated: bool


class Corrected(Struct, frozen=True):
    """What became of one correction. `unknown`: the ledger has no such attempt."""

    id: str
    result: Correction
    difference_usd_nanos: int = 0
    windows: int = 0  # open ones whose balance has changed


class CorrectedAll(Struct, frozen=True):
    rows: list[Corrected]
    difference_usd_nanos: int
