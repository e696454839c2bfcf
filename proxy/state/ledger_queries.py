"""The questions people ask of the ledger, as SQL: spend, agents, runs, requests, one run, one request.

Each function reads on the writer's connection and ends all its cursors; names of columns come from the tables below,
never from a caller. `LedgerReports` puts the questions to a `Ledger`. Pages are by key (`before` is a call's `seq`),
so a page costs the same however far back it lies. A run is its id: calls of several agents and keys may share one.
"""

# ruff: noqa: S608  # every name that is put into a statement stands in this file; values are always bound

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from functools import partial
from typing import Protocol

from msgspec import convert, json

from pricing.book import Bill
from proxy.errors import ProxyError
from proxy.state import report
from proxy.state.ledger import Ledger
from proxy.state.ledger_rows import TOKEN_CLASSES
from proxy.types import Usage

UPSTREAM_IDS_LOOKED_AT = 200_000  # calls
SPEND_ROWS_MAX = 1_000
TREE_CALLS_MAX = 2_000
TREE_RUNS_MAX = 200
TREE_DEPTH_MAX = 8  # a run deeper than that cannot be made

SPEND_KEYS = {
    "agent": "o.agent",
    "model": "o.model",
    "run": "o.run",
    "key": "o.key_id",
    "team": "o.team",
    "provider": "a.provider",
    "target": "a.target",
}
FILTERS = {
    "agent": "o.agent",
    "model": "o.model",
    "run": "o.run",
    "key": "o.key_id",
    "team": "o.team",
    "target": "o.target",
    "status": "o.status",
    "error": "o.error_code",
    "served_by": "o.served_by",
}

Where = tuple[str, list[str | int]]

INPUT = " + ".join(f"a.{name}" for name in TOKEN_CLASSES if name.startswith("input"))
OUTPUT = " + ".join(f"a.{name}" for name in TOKEN_CLASSES if not name.startswith("input"))
COST = "coalesce(sum(a.cost_usd_nanos), 0)"
UNPRICED = "count(DISTINCT CASE WHEN a.call IS NOT NULL AND a.cost_usd_nanos IS NULL THEN o.seq END)"
CALLS = "FROM outcome o LEFT JOIN attempt a ON a.call = o.seq"
END_MS = "o.at_ms + CAST(o.duration_s * 1000 AS INTEGER)"


def _iso(milliseconds: str) -> str:
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', ({milliseconds}) / 1000.0, 'unixepoch')"


SPEND = f"""count(DISTINCT o.seq), count(a.call), {", ".join(f"coalesce(sum(a.{name}), 0)" for name in TOKEN_CLASSES)},
    {COST} AS cost, {UNPRICED},
    coalesce(sum(CASE WHEN a.usage_source <> 'reported' THEN a.cost_usd_nanos END), 0)"""
SUMMARY = f"""count(DISTINCT o.seq), count(DISTINCT CASE WHEN o.error_code IS NOT NULL THEN o.seq END),
    {_iso("min(o.at_ms)")}, {_iso(f"max({END_MS})")}, coalesce((max({END_MS}) - min(o.at_ms)) / 1000.0, 0.0),
    coalesce(sum({INPUT}), 0), coalesce(sum({OUTPUT}), 0), {COST}, {UNPRICED}"""
REQUEST = f"""o.request_id, {_iso("o.at_ms")}, o.at_ms, o.agent, o.run, o.step, o.model, o.target, o.status,
    o.error_code, o.served_by, o.attempts, (SELECT coalesce(sum({INPUT}), 0) FROM attempt a WHERE a.call = o.seq),
    (SELECT coalesce(sum({OUTPUT}), 0) FROM attempt a WHERE a.call = o.seq), o.cost_usd_nanos, o.first_event_s,
    o.duration_s"""


def _between(since_ms: int | None, until_ms: int | None) -> Where:
    clauses, values = ["1"], list[str | int]()
    if since_ms is not None:
        clauses.append("o.at_ms >= ?")
        values.append(since_ms)
    if until_ms is not None:
        clauses.append("o.at_ms < ?")
        values.append(until_ms)
    return " AND ".join(clauses), values


def spend(connection: sqlite3.Connection, by: str, since_ms: int | None, until_ms: int | None) -> report.Spend:
    if by not in SPEND_KEYS:
        raise ProxyError("invalid_request", f"`by` must be one of {', '.join(SPEND_KEYS)}", param="by")
    key = SPEND_KEYS[by]
    where, values = _between(since_ms, until_ms)
    source = f"{CALLS} WHERE {where}" + (" AND a.call IS NOT NULL" if key.startswith("a.") else "")
    rows = connection.execute(
        f"SELECT {key}, {SPEND} {source} GROUP BY 1 ORDER BY cost DESC, 2 DESC, 1 LIMIT {SPEND_ROWS_MAX + 1}", values
    ).fetchall()
    (total,) = connection.execute(f"SELECT NULL, {SPEND} {source}", values).fetchall()
    shown = [_spend_row(*row) for row in rows[:SPEND_ROWS_MAX]]
    return report.Spend(by=by, rows=shown, total=_spend_row(*total), truncated=len(rows) > SPEND_ROWS_MAX)


def _spend_row(key: str | None, calls: int, attempts: int, *sums: int) -> report.SpendRow:
    *tokens, cost, unpriced, estimated = sums
    return report.SpendRow(
        key=key,
        calls=calls,
        attempts=attempts,
        tokens=report.Tokens(*tokens),
        cost_usd_nanos=cost,
        unpriced_calls=unpriced,
        estimated_usd_nanos=estimated,
        estimated_share=estimated / cost if cost else None,
    )


def agents(connection: sqlite3.Connection, since_ms: int | None) -> list[report.AgentRow]:
    where, values = _between(since_ms, None)
    rows = connection.execute(
        f"SELECT o.agent, count(DISTINCT o.run), {SUMMARY} {CALLS} WHERE {where} GROUP BY 1 ORDER BY 1"
        f" LIMIT {SPEND_ROWS_MAX}",
        values,
    ).fetchall()
    return [report.AgentRow(row[0], row[1], report.Summary(*row[2:])) for row in rows]


def runs(
    connection: sqlite3.Connection, limit: int, *, agent: str | None, since_ms: int | None, before: int | None
) -> report.Runs:
    """The runs whose last call (of `agent`, if given) lies in the page, each with all of its calls (of `agent`)."""
    where, values = _between(since_ms, None)
    mine = "" if agent is None else " AND agent = ?"
    own = [] if agent is None else [agent]
    rows = connection.execute(
        f"SELECT o.seq, o.run FROM outcome o WHERE o.run IS NOT NULL AND {where} AND o.seq < ?"
        f" AND o.seq = (SELECT max(seq) FROM outcome WHERE run = o.run{mine}) ORDER BY o.seq DESC LIMIT ?",
        [*values, 2**62 if before is None else before, *own, limit],
    ).fetchall()
    found = [_run_row(connection, run, agent) for _, run in rows]
    return report.Runs(rows=found, before=rows[-1][0] if len(rows) == limit else None)


def _run_row(connection: sqlite3.Connection, run: str, agent: str | None = None) -> report.RunRow:
    where, values = ("o.run = ?", [run]) if agent is None else ("o.run = ? AND o.agent = ?", [run, agent])
    (summary,) = connection.execute(f"SELECT max(o.parent_run), {SUMMARY} {CALLS} WHERE {where}", values).fetchall()
    names = connection.execute(f"SELECT DISTINCT o.agent FROM outcome o WHERE {where} ORDER BY 1", values).fetchall()
    return report.RunRow(
        run=run, parent=summary[0], agents=[name for (name,) in names], summary=report.Summary(*summary[1:])
    )


def requests(
    connection: sqlite3.Connection, filters: Mapping[str, str], limit: int, *, window: Where, before: int | None
) -> report.Requests:
    unknown = [name for name in filters if name not in FILTERS]
    if unknown:
        raise ProxyError("invalid_request", f"unknown parameter {', '.join(unknown)}: filters are {', '.join(FILTERS)}")
    where = " AND ".join([window[0], "o.seq < ?", *(f"{FILTERS[name]} = ?" for name in filters)])
    rows = connection.execute(
        f"SELECT o.seq, {REQUEST} FROM outcome o WHERE {where} ORDER BY o.seq DESC LIMIT ?",
        [*window[1], 2**62 if before is None else before, *filters.values(), limit],
    ).fetchall()
    found = [report.RequestRow(*row[1:]) for row in rows]
    return report.Requests(rows=found, before=rows[-1][0] if len(rows) == limit else None)


class _Walk:
    """Down a tree of runs, within bounds and never in a circle: parents are named by clients."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._seen: set[str] = set()
        self._calls_left = TREE_CALLS_MAX

    def tree(self, run: str, depth: int = 0) -> report.RunTree:
        self._seen.add(run)
        row = _run_row(self._connection, run)
        calls = self._calls(run)
        below = self._children(run)
        fits = [child for child in below if child not in self._seen and depth < TREE_DEPTH_MAX]
        children = [self.tree(child, depth + 1) for child in fits if len(self._seen) < TREE_RUNS_MAX]
        truncated = len(calls) < row.summary.calls or len(children) < len(below)
        return report.tree(row, calls, children, truncated)

    def _calls(self, run: str) -> list[report.RequestRow]:
        rows = self._connection.execute(
            f"SELECT {REQUEST} FROM outcome o WHERE o.run = ? ORDER BY o.at_ms, o.seq LIMIT ?", [run, self._calls_left]
        ).fetchall()
        self._calls_left -= len(rows)
        return [report.RequestRow(*row) for row in rows]

    def _children(self, run: str) -> list[str]:
        rows = self._connection.execute(
            "SELECT run FROM outcome WHERE parent_run = ? AND run IS NOT NULL GROUP BY run ORDER BY min(seq) LIMIT ?",
            [run, TREE_RUNS_MAX],
        ).fetchall()
        return [child for (child,) in rows]


def run(connection: sqlite3.Connection, id: str) -> report.RunTree | None:
    tree = _Walk(connection).tree(id)
    return tree if tree.calls or tree.children else None


class ExplainPrice(Protocol):
    def __call__(self, price_id: str, provider: str, model: str, usage: Usage) -> Bill | None:
        """The arithmetic of a cost, line by line; None when the price record is not known any more."""
        ...


REQUEST_WHERE = f"SELECT o.*, {_iso('o.at_ms')} AS at FROM outcome o WHERE"
# Upstreams' ids have no index, which every call would pay for: only the latest calls are looked through.
OF_UPSTREAM = f"""SELECT call FROM attempt WHERE upstream_request_id = ?
    AND call > (SELECT max(seq) FROM outcome) - {UPSTREAM_IDS_LOOKED_AT} ORDER BY call DESC LIMIT 1"""


def request(connection: sqlite3.Connection, id: str, explain_price: ExplainPrice) -> report.RequestDetail | None:
    """The call of that id, ours or the one that its upstream gave it; the latest, should an id have come twice."""
    found = _dicts(connection, f"{REQUEST_WHERE} request_id = ? ORDER BY seq DESC LIMIT 1", id)
    found = found or _dicts(connection, f"{REQUEST_WHERE} seq = ({OF_UPSTREAM})", id)
    if not found:
        return None
    fields = found[0]
    rows = _dicts(connection, "SELECT * FROM attempt WHERE call = ? ORDER BY position", fields["seq"])
    tags = json.decode(str(fields.pop("tags") or "[]"), type=list[tuple[str, str]])
    attempts = [report.AttemptDetail(fields=row, price=_price(row, explain_price)) for row in rows]
    return report.RequestDetail(fields=fields, tags=tags, attempts=attempts, decision=report.decision(fields, rows))


def _dicts(connection: sqlite3.Connection, query: str, value: report.Value) -> list[report.Fields]:
    cursor = connection.execute(query, [value])
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _price(row: report.Fields, explain_price: ExplainPrice) -> Bill | None:
    if row["price_id"] is None or row["usage_source"] is None:
        return None
    usage = convert({name: row[name] for name in TOKEN_CLASSES}, Usage)
    return explain_price(str(row["price_id"]), str(row["provider"]), str(row["upstream_model"]), usage)


def _unexplained(price_id: str, provider: str, model: str, usage: Usage) -> None:
    """Where no price book is at hand."""


class LedgerReports:
    """The same questions, put to a ledger from the event loop; every answer includes all calls that have ended."""

    def __init__(self, ledger: Ledger, explain_price: ExplainPrice = _unexplained) -> None:
        self._ledger = ledger
        self._explain_price = explain_price

    async def spend(self, by: str, since_ms: int | None = None, *, until_ms: int | None = None) -> report.Spend:
        return await self._ledger.query(partial(spend, by=by, since_ms=since_ms, until_ms=until_ms))

    async def agents(self, since_ms: int | None = None) -> list[report.AgentRow]:
        return await self._ledger.query(partial(agents, since_ms=since_ms))

    async def runs(
        self, limit: int, *, agent: str | None = None, since_ms: int | None = None, before: int | None = None
    ) -> report.Runs:
        question = partial(runs, limit=limit, agent=agent, since_ms=since_ms, before=before)
        return await self._ledger.query(question)

    async def run(self, id: str) -> report.RunTree | None:
        return await self._ledger.query(partial(run, id=id))

    async def requests(
        self, filters: Mapping[str, str], limit: int, *, since_ms: int | None = None, before: int | None = None
    ) -> report.Requests:
        question = partial(requests, filters=filters, limit=limit, window=_between(since_ms, None), before=before)
        return await self._ledger.query(question)

    async def request(self, id: str) -> report.RequestDetail | None:
        return await self._ledger.query(partial(request, id=id, explain_price=self._explain_price))
