"""What the live feed says, message by message: a snapshot, then what has changed each second, and events at once.

Declarations only; `live` fills them, and the console and the terminal read them. Money is integer nano-dollars, `_ms`
are milliseconds since 1970, `_s` seconds. Names come from clients: they are data, nothing else.
"""

from __future__ import annotations

from msgspec import Struct

from proxy.state.report import RequestRow


class Totals(Struct, frozen=True):
    """One name since the gate's start. `failed`: upstreams' doing or ours; `refused`: a rule's, or the caller's."""

    name: str  # of a run: its tenant, a slash and its name, as two tenants may use one name
    calls: int  # of a target: attempts
    failed: int
    refused: int
    hedges: int  # of a target: second copies sent to it
    input_tokens: int
    cached_tokens: int  # the part of the input that a provider had in its cache
    output_tokens: int
    cost_usd_nanos: int
    first_token_p50_s: float | None  # of the last hundred streams
    first_token_p95_s: float | None
    last_ms: int
    agent: str | None = None  # of a run
    parent: str | None = None  # of a run


class Gauges(Struct, frozen=True):
    """What others count, as it stands."""

    in_flight: int = 0
    queued: int = 0
    saved_usd_nanos: int = 0  # by known answers, since the start
    hedges: int = 0  # since the start
    out: tuple[str, ...] = ()  # targets whose breaker is open
    trying: tuple[str, ...] = ()  # ... or half open


class Second(Struct, frozen=True):
    """One second of the fleet; first tokens are those of the minute before its end."""

    at_ms: int
    calls: int
    failed: int
    refused: int
    cost_usd_nanos: int
    input_tokens: int
    output_tokens: int
    in_flight: int
    queued: int
    first_token_p50_s: float | None
    first_token_p95_s: float | None


class Event(Struct, frozen=True):
    """Something that is no call: a breaker that turned, a budget that was reached, a reload."""

    at_ms: int
    name: str
    level: str
    fields: dict[str, str | int | float | bool | None]


class Delta(Struct, frozen=True):
    """Of the lists only what has changed in the second; each row replaces the one of its name."""

    at_ms: int
    second: Second
    gauges: Gauges
    totals: Totals
    agents: list[Totals]
    routes: list[Totals]
    targets: list[Totals]
    runs: list[Totals]
    calls: list[RequestRow]  # latest first
    calls_left_out: int


class Snapshot(Struct, frozen=True):
    """All of it; of the lists what was used last."""

    at_ms: int
    since_ms: int
    gauges: Gauges
    totals: Totals
    agents: list[Totals]
    routes: list[Totals]
    targets: list[Totals]
    runs: list[Totals]
    calls: list[RequestRow]  # latest first
    events: list[Event]  # latest first
    series: list[Second]  # the oldest first
