"""One call as one line: which facts of an `Outcome` the log shows, as JSON fields and as words for a terminal.

Times are UTC in RFC 3339, lengths are seconds, money is US dollars, tokens are in disjoint kinds, and a field that does
not apply is absent. The body of the request is only ever measured. The field names are a promise; a golden file holds
them.
"""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter
from typing import Literal

from msgspec import Struct

from proxy.errors import family
from proxy.telemetry.catalog import TOKEN_KINDS
from proxy.telemetry.family import NANOS
from proxy.telemetry.reading import attempt_result
from proxy.types import Attempt, Outcome

NAME_MAX = 128
DAY_S = 86_400
Basis = Literal["reported", "counted", "estimated", "unpriced", "nothing"]

_tokens = attrgetter(*TOKEN_KINDS)


class Try(Struct, frozen=True, omit_defaults=True):
    """An attempt, as the line shows it."""

    target: str
    role: str
    duration_s: float
    result: str
    status: int | None = None
    error_code: str | None = None
    first_event_s: float | None = None
    cost_usd: float | None = None
    usage_source: str | None = None
    upstream_request_id: str | None = None


class Tokens(Struct, frozen=True, omit_defaults=True):
    """By kind, in the order of TOKEN_KINDS."""

    input_uncached: int = 0
    input_cached: int = 0
    input_cache_write_5m: int = 0
    input_cache_write_1h: int = 0
    input_audio: int = 0
    input_image: int = 0
    output: int = 0
    reasoning: int = 0
    output_audio: int = 0


class Line(Struct, frozen=True, omit_defaults=True):
    time: str
    level: str
    event: str
    id: str
    trace_id: str
    endpoint: str
    model: str
    route: str
    stream: bool
    key_id: str
    agent: str
    agent_source: str
    run_source: str
    status: int
    outcome: str
    served_by: str
    duration_s: float
    overhead_s: float
    cost_basis: Basis
    bytes_in: int
    bytes_out: int
    attempts: tuple[Try, ...]
    tokens: Tokens
    team: str | None = None
    run: str | None = None
    parent_run: str | None = None
    step: int | None = None
    depth: int = 0
    tags: dict[str, str] | None = None
    client_retry: int = 0
    plan: str | None = None
    target: str | None = None
    error_code: str | None = None
    error_source: str | None = None
    first_event_s: float | None = None
    cost_usd: float | None = None
    config_version: str | None = None


STRENGTH: dict[Basis, int] = {"estimated": 0, "counted": 1, "reported": 2, "nothing": 3}
LEVELS = {"upstream_error": "warning", "timeout": "warning", "proxy_error": "error"}


def line_of(outcome: Outcome) -> Line:
    call = outcome.call
    identity = call.identity
    end = family(outcome.error_code, outcome.error_source, outcome.client_gone)
    tries, cost = tuple(map(_try, outcome.attempts)), outcome.cost_usd_nanos
    return Line(  # by position, in the order above: by name it takes three times as long, as in `finish`
        utc_text(call.arrived_wall),
        LEVELS.get(end, "info"),
        "call",
        call.id,
        call.trace_id,
        call.endpoint,
        printable(call.model),
        call.route,
        call.head.stream,
        identity.key_id,
        printable(identity.agent),
        identity.agent_source,
        identity.run_source,
        outcome.status,
        end,
        outcome.served_by,
        _micros(outcome.duration_s),
        _micros(max(0.0, outcome.duration_s - outcome.upstream_s)),
        _basis(outcome, cost),
        len(call.raw),
        outcome.bytes_out,
        tries,
        _token_sums(outcome),
        identity.team,
        _maybe(identity.run),
        _maybe(identity.parent_run),
        identity.step,
        identity.depth,
        {printable(name): printable(value) for name, value in identity.tags} if identity.tags else None,
        call.client_retry,
        printable(outcome.plan.reason, 2 * NAME_MAX) if outcome.plan else None,
        tries[-1].target if tries else None,
        outcome.error_code,
        outcome.error_source,
        _seconds(outcome.first_event_s),
        None if cost is None else cost / NANOS,
        outcome.config_version or None,
    )


def failed(outcome: Outcome) -> bool:
    """Its line stands above `info`."""
    return family(outcome.error_code, outcome.error_source, outcome.client_gone) in LEVELS


def human_form(outcome: Outcome) -> bytes:
    """`12:54:01 200 planner/run-7 smart -> openai/gpt-5.5 1.24 s, first 0.31 s, 812 + 88 tokens, $0.0042`"""
    call, target = outcome.call, outcome.target
    who = printable(call.identity.agent) + (f"/{printable(call.identity.run)}" if call.identity.run else "")
    where = f"{printable(call.model)} -> {printable(target.id)}" if target else printable(call.model)
    facts = [f"{outcome.duration_s:.2f} s"]
    if outcome.first_event_s is not None:
        facts.append(f"first {outcome.first_event_s:.2f} s")
    usages = [attempt.usage for attempt in outcome.attempts if attempt.usage is not None]
    if usages:
        facts.append(f"{sum(u.input_total for u in usages)} + {sum(u.output_total for u in usages)} tokens")
        facts.append(_price_words(outcome))
    if len(outcome.attempts) > 1:
        facts.append(f"{len(outcome.attempts)} attempts")
    if outcome.client_gone:
        facts.append("client left")
    if outcome.error_code is not None:
        facts.append(outcome.error_code)
    return f"{utc_text(call.arrived_wall)[11:19]} {outcome.status} {who} {where} {', '.join(facts)}".encode()


def _price_words(outcome: Outcome) -> str:
    cost = outcome.cost_usd_nanos
    basis = _basis(outcome, cost)
    if cost is None:
        return "no price"
    return f"${cost / NANOS:.6f}" + ("" if basis == "reported" else f" {basis}")


def _try(attempt: Attempt) -> Try:
    cost = attempt.cost_usd_nanos
    return Try(  # by position, as above
        printable(attempt.target.id),
        attempt.role,
        _micros(attempt.duration_s),
        attempt_result(attempt),
        attempt.status,
        attempt.error_code,
        _seconds(attempt.first_event_s),
        None if cost is None else cost / NANOS,
        attempt.usage.source if attempt.usage else None,
        _maybe(attempt.upstream_request_id),
    )


def _basis(outcome: Outcome, cost: int | None) -> Basis:
    """What the cost rests on: the weakest of its parts."""
    if cost is None:
        return "unpriced"
    weakest: Basis = "nothing"
    for attempt in outcome.attempts:
        if attempt.usage is not None and STRENGTH[attempt.usage.source] < STRENGTH[weakest]:
            weakest = attempt.usage.source
    return weakest


def _token_sums(outcome: Outcome) -> Tokens:
    usages = [_tokens(attempt.usage) for attempt in outcome.attempts if attempt.usage is not None]
    return Tokens(*usages[0]) if len(usages) == 1 else Tokens(*map(sum, zip(*usages, strict=True)))


def _seconds(value: float | None) -> float | None:
    return None if value is None else _micros(value)


def _micros(seconds: float) -> float:
    """To the microsecond; `round` goes by way of text and takes four times as long."""
    return int(seconds * 1e6 + 0.5) / 1e6


def _maybe(text: str | None) -> str | None:
    return None if text is None else printable(text)


def printable(text: str, length_max: int = NAME_MAX) -> str:
    """`text` on one line: whatever a terminal or a line reader could act on becomes its code point in digits."""
    if len(text) > length_max:
        text = text[:length_max]
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in text)


def utc_text(wall: float) -> str:
    """RFC 3339 with milliseconds."""
    second, millisecond = divmod(int(wall * 1000 + 0.5), 1000)
    return f"{_second_text(second)}.{millisecond:03d}Z"


@lru_cache(maxsize=4)  # calls are told in the order of their end: those of a second or two at a time
def _second_text(second: int) -> str:
    days, second = divmod(second, DAY_S)
    return f"{_date(days)}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"


@lru_cache(maxsize=2)
def _date(days: int) -> str:
    """Of the day so many days after 1970-01-01. Counted in eras of 400 years that begin on the first of March, so that
    a leap day is the last of its year."""
    era, day = divmod(days + 719_468, 146_097)
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    year += 400 * era + (1 if month >= 10 else 0)
    return f"{year:04d}-{(month + 2) % 12 + 1:02d}-{day + 1:02d}"
