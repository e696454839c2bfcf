"""Attempts out of the ledger in its own order, page by page; and what is known of attempts that a bill corrects.

A page is all attempts of the next calls, by key (`after` is a call's `seq`), so it costs the same however far into the
ledger it lies. A call that was answered without any stands as attempt 0, at no cost. A correction is an `adjust` event
whose subject is the call; the attempt's row stays as it was.
"""

# ruff: noqa: S608  # every name that is put into a statement stands in this file; values are always bound

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from functools import partial
from typing import Final

from msgspec import Struct, convert, json

from proxy.state.events import Change, charges_of
from proxy.state.ledger import Ledger
from proxy.state.ledger_report import AttemptPage, AttemptRow, Unresolved, UnresolvedPage
from proxy.state.ledger_schema import TOKEN_CLASSES
from proxy.types import Period, Usage, UsageSource

CALLS_PER_PAGE: Final = 500
UNRESOLVED_MAX: Final = 500
KNOWN: Final = ("cache", "join", "best")  # who may have served a call that asked nobody
ANSWERS_MAX: Final = 1_000
CALLS_LOOKED_AT: Final = 20_000

AT: Final = "strftime('%Y-%m-%dT%H:%M:%fZ', o.at_ms / 1000.0, 'unixepoch')"
ADJUSTED: Final = """(SELECT coalesce(sum(json_extract(e.body, '$.usd_nanos')), 0) FROM event e
    WHERE e.kind = 'adjust' AND e.subject = o.request_id AND json_extract(e.body, '$.attempt') = a.number)"""
OF_CALL: Final = (
    *("key_id", "team", "agent", "agent_source", "run", "parent_run", "step", "tags", "endpoint", "model"),
    "served_by",
)
OF_ATTEMPT: Final = (
    *("number", "role", "target", "provider", "upstream_model", "started_s", "duration_s", "lesson", "status"),
    *("error_code", "upstream_request_id", *TOKEN_CLASSES),
    *("usage_source", "usage_flags", "price_id", "held_usd_nanos", "cost_usd_nanos", "exposure_usd_nanos"),
    "idle_usd_nanos",
)
# What stands in the place of an attempt where a call was answered without one.
UNASKED: Final = {
    **dict.fromkeys(("number", "started_s", "held_usd_nanos", "cost_usd_nanos"), "0"),
    **dict.fromkeys(("exposure_usd_nanos", "idle_usd_nanos"), "0"),
    **dict.fromkeys(("target", "provider", "upstream_model", "lesson"), "''"),
    "role": "o.served_by",
    "duration_s": "o.duration_s",
    "status": "o.status",
}
COLUMNS: Final = ", ".join(
    (
        *("o.seq", "o.request_id", AT, "o.at_ms"),
        *(f"o.{name}" for name in OF_CALL),
        *(f"iif(a.call IS NULL, {UNASKED.get(name, 'NULL')}, a.{name})" for name in OF_ATTEMPT),
        ADJUSTED,
    )
)
# The unary plus keeps SQLite from the index on instants: with it each page would sort all that is left.
IN_TIME: Final = "+o.at_ms >= ? AND +o.at_ms < ?"
NEVER_MS: Final = 2**62

RESOLVED: Final = """r.kind = 'adjust' AND json_extract(r.body, '$.bill') IS NOT NULL
    AND json_extract(r.body, '$.attempt') IS NULL"""


def attempts(
    connection: sqlite3.Connection,
    after: int = 0,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    provider: str | None = None,
    limit: int = CALLS_PER_PAGE,
) -> AttemptPage:
    """`limit`: calls, those without attempts included."""
    window = [0 if since_ms is None else since_ms, NEVER_MS if until_ms is None else until_ms]
    calls = f"SELECT o.seq FROM outcome o WHERE o.seq > ? AND {IN_TIME} ORDER BY o.seq LIMIT ?"
    (count, last) = connection.execute(f"SELECT count(*), max(seq) FROM ({calls})", [after, *window, limit]).fetchone()
    rows: list[AttemptRow] = []
    if count:
        whose = f"(a.call IS NOT NULL OR o.served_by IN {KNOWN})" if provider is None else "a.provider = ?"
        query = f"""SELECT {COLUMNS} FROM outcome o LEFT JOIN attempt a ON a.call = o.seq
            WHERE o.seq > ? AND o.seq <= ? AND {IN_TIME} AND {whose} ORDER BY o.seq, a.position"""
        values = [after, last, *window, *([] if provider is None else [provider])]
        rows = [AttemptRow(*row) for row in connection.execute(query, values)]
    return AttemptPage(rows, last if count == limit else None, since_ms, until_ms)


# --- what corrections need -------------------------------------------------------------------------------------------


class Known(Struct, frozen=True):
    """What stands in the ledger of one attempt, or of a call whose end is unknown (`attempt` None)."""

    usd_nanos: int  # corrections included; unpriced counts as nothing
    periods: tuple[Period, ...]  # limits in money that it was charged to
    held: tuple[Change, ...] = ()  # what is still unresolved of it


Key = tuple[str, int | None]  # request, attempt


class _Expired(Struct, frozen=True):
    changes: tuple[Change, ...] = ()
    held_wall: float | None = None
    held_usd_nanos: int | None = None


def known(connection: sqlite3.Connection, keys: Iterable[Key]) -> dict[Key, Known]:
    found: dict[Key, Known] = {}
    for key in keys:
        one = _unresolved(connection, key[0]) if key[1] is None else _attempt(connection, key[0], key[1])
        if one is not None:
            found[key] = one
    return found


def _attempt(connection: sqlite3.Connection, request_id: str, number: int) -> Known | None:
    query = f"""SELECT coalesce(a.cost_usd_nanos, 0) + {ADJUSTED}, o.charges FROM outcome o
        CROSS JOIN attempt a ON a.call = o.seq WHERE o.request_id = ? AND a.number = ? ORDER BY o.seq DESC LIMIT 1"""
    row = connection.execute(query, [request_id, number]).fetchone()
    if row is None:
        return None
    charges = charges_of(row[1] or "[]")
    return Known(row[0], tuple(charge.period for charge in charges if charge.period.unit == "usd"))


def _unresolved(connection: sqlite3.Connection, request_id: str) -> Known | None:
    query = "SELECT body FROM event WHERE kind IN ('expire', 'unresolved') AND subject = ? ORDER BY seq LIMIT 1"
    row = connection.execute(query, [request_id]).fetchone()
    changes = json.decode(row[0], type=_Expired).changes if row else ()
    held = tuple(change for change in changes if change.unresolved)
    if not held:
        return None
    query = f"SELECT sum(json_extract(r.body, '$.usd_nanos')) FROM event r WHERE {RESOLVED} AND r.subject = ?"
    (resolved,) = connection.execute(query, [request_id]).fetchone()
    periods = tuple(change.period for change in held if change.unit == "usd")
    return Known(resolved or 0, periods, held if resolved is None else ())


def unresolved(
    connection: sqlite3.Connection, since_ms: int | None = None, until_ms: int | None = None
) -> UnresolvedPage:
    """Calls that a crash has swallowed and that nobody has resolved, the oldest first."""
    query = f"""SELECT e.subject, e.at_ms, e.body FROM event e WHERE e.kind IN ('expire', 'unresolved') AND NOT EXISTS
        (SELECT 1 FROM event r WHERE r.subject = e.subject AND {RESOLVED}) ORDER BY e.seq"""
    rows: list[Unresolved] = []
    for subject, at_ms, body in connection.execute(query):
        expired = json.decode(body, type=_Expired)
        held = max((change.unresolved for change in expired.changes if change.unit == "usd"), default=0)
        at = at_ms if expired.held_wall is None else int(expired.held_wall * 1000)
        if held and (since_ms or 0) <= at < (until_ms or NEVER_MS):
            rows.append(Unresolved(subject, at, max(held, expired.held_usd_nanos or 0)))
            if len(rows) > UNRESOLVED_MAX:
                break
    return UnresolvedPage(rows[:UNRESOLVED_MAX], truncated=len(rows) > UNRESOLVED_MAX)


# --- what a quote needs ----------------------------------------------------------------------------------------------


class Seen(Struct, frozen=True):
    """A whole answer, and what had been thought of its input."""

    target: str
    input_tokens_estimate: int
    usage: Usage


def answers(connection: sqlite3.Connection, agent: str, model: str) -> list[Seen]:
    """The agent's latest ones to what it calls that model, the oldest first."""
    query = f"""SELECT a.target, o.input_tokens_estimate, a.usage_source, {", ".join(TOKEN_CLASSES)} FROM outcome o
        CROSS JOIN attempt a ON a.call = o.seq
        WHERE o.seq > (SELECT coalesce(max(seq), 0) FROM outcome) - {CALLS_LOOKED_AT} AND o.agent = ? AND o.model = ?
        AND a.usage_source IS NOT NULL AND a.error_code IS NULL ORDER BY o.seq DESC LIMIT {ANSWERS_MAX}"""
    found = connection.execute(query, [agent, model]).fetchall()
    return [Seen(target, estimate, _usage(source, classes)) for target, estimate, source, *classes in reversed(found)]


def _usage(source: UsageSource, classes: list[int]) -> Usage:
    return convert({**dict(zip(TOKEN_CLASSES, classes, strict=True)), "source": source}, Usage)


class LedgerAnswers:
    """`answers`, put to a ledger from the event loop."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def __call__(self, agent: str, model: str) -> list[Seen]:
        return await self._ledger.query(partial(answers, agent=agent, model=model))
