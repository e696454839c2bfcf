"""The questions people ask of the ledger, as SQL: spend, agents, requests, one request. Runs: see `run_queries`.

Each function reads on the writer's connection and ends all its cursors; names of columns come from the tables below,
never from a caller. `LedgerReports` puts the questions to a `Ledger`. Pages are by key (`before` is a call's `seq`),
so a page costs the same however far back it lies.
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
from proxy.state.events import charges_of
from proxy.state.ledger import Ledger
from proxy.state.ledger_schema import TOKEN_CLASSES
from proxy.types import Charge, Usage

UPSTREAM_IDS_LOOKED_AT = 200_000  # calls
SPEND_ROWS_MAX = 1_000
USAGE_CALLS_MAX = 30_000  # added up within a tenth of a second
FILTERED_CALLS_MAX = 100_000  # looked at for one page: most filters have no index, which every call would pay for

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
TENANT = "coalesce('team:' || o.team, 'key:' || o.key_id)"  # as `proxy.tenancy` has it: whose a run is
CALLS = "FROM outcome o LEFT JOIN attempt a ON a.call = o.seq"
END_MS = "o.at_ms + CAST(o.duration_s * 1000 AS INTEGER)"


def _iso(milliseconds: str) -> str:
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', ({milliseconds}) / 1000.0, 'unixepoch')"


SPEND = f"""count(DISTINCT o.seq), count(a.call), {", ".join(f"coalesce(sum(a.{name}), 0)" for name in TOKEN_CLASSES)},
    {COST} AS cost, {UNPRICED},
    coalesce(sum(CASE WHEN a.usage_source <> 'reported' AND a.gpu_s IS NULL THEN a.cost_usd_nanos END), 0)"""
IDLE_GPUS = f"""SELECT o.subject,
    {", ".join(f"sum(CAST(json_extract(o.body, '$.{name}') AS REAL))" for name in ("elapsed_s", "busy_s"))},
    {", ".join(f"sum(json_extract(o.body, '$.{name}_usd_nanos'))" for name in ("price", "charged", "idle"))}
    FROM event o WHERE o.kind = 'gpu'"""
SUMMARY = f"""count(DISTINCT o.seq), count(DISTINCT CASE WHEN o.error_code IS NOT NULL THEN o.seq END),
    {_iso("min(o.at_ms)")}, {_iso(f"max({END_MS})")}, coalesce((max({END_MS}) - min(o.at_ms)) / 1000.0, 0.0),
    coalesce(sum({INPUT}), 0), coalesce(sum({OUTPUT}), 0), {COST}, {UNPRICED}"""
MEMBERS = f"""(SELECT group_concat(target, CASE o.plan_mode WHEN 'cascade' THEN '>' ELSE '+' END) FROM
    (SELECT a.target FROM attempt a WHERE o.plan_mode IN {report.MANY} AND a.call = o.seq
    GROUP BY a.target ORDER BY min(a.position)))"""
REQUEST = f"""o.request_id, {_iso("o.at_ms")}, o.at_ms, o.agent, o.run, o.step, o.model, o.target, o.status,
    o.error_code, o.served_by, o.attempts, (SELECT coalesce(sum({INPUT}), 0) FROM attempt a WHERE a.call = o.seq),
    (SELECT coalesce(sum({OUTPUT}), 0) FROM attempt a WHERE a.call = o.seq), o.cost_usd_nanos, o.first_event_s,
    o.duration_s, {MEMBERS}, o.agent_source"""


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
    key, owner = SPEND_KEYS[by], _owner(by)
    where, values = _between(since_ms, until_ms)
    source = f"{CALLS} WHERE {where}" + (" AND a.call IS NOT NULL" if key.startswith("a.") else "")
    rows = connection.execute(
        f"SELECT {key}, {owner}, {SPEND} {source} GROUP BY 1, 2 ORDER BY cost DESC, 3 DESC, 1, 2"
        f" LIMIT {SPEND_ROWS_MAX + 1}",
        values,
    ).fetchall()
    (total,) = connection.execute(f"SELECT NULL, NULL, {SPEND} {source}", values).fetchall()
    shown = [_spend_row(*row) for row in rows[:SPEND_ROWS_MAX]]
    return report.Spend(
        by=by,
        rows=shown,
        total=_spend_row(*total),
        truncated=len(rows) > SPEND_ROWS_MAX,
        idle_gpus=_idle_gpus(connection, where, values),
    )


def _idle_gpus(connection: sqlite3.Connection, where: str, values: list[str | int]) -> list[report.IdleGpu]:
    rows = connection.execute(f"{IDLE_GPUS} AND {where} GROUP BY 1 ORDER BY 6 DESC, 1", values).fetchall()
    return [report.IdleGpu(*row) for row in rows]


def _owner(by: str) -> str:
    """Of a row: a run is its tenant's, everything else is one name for all."""
    return f"CASE WHEN o.run IS NOT NULL THEN {TENANT} END" if by == "run" else "NULL"


def _spend_row(key: str | None, owner: str | None, *sums: int) -> report.SpendRow:
    calls, attempts, *tokens, cost, unpriced, estimated = sums
    return report.SpendRow(
        key=key,
        tenant=owner,
        calls=calls,
        attempts=attempts,
        tokens=report.Tokens(*tokens),
        cost_usd_nanos=cost,
        unpriced_calls=unpriced,
        estimated_usd_nanos=estimated,
        estimated_share=estimated / cost if cost else None,
    )


def usage(connection: sqlite3.Connection, by: str, since_ms: int | None) -> report.Usage:
    """As `spend`, of the latest calls alone: a page that people wait for."""
    if by not in SPEND_KEYS:
        raise ProxyError("invalid_request", f"`by` must be one of {', '.join(SPEND_KEYS)}", param="by")
    key, owner, (where, values) = SPEND_KEYS[by], _owner(by), _between(since_ms, None)
    floor = newest(connection) - USAGE_CALLS_MAX
    near = f"o.seq > {floor} AND {where.replace('o.', '+o.')}"  # by number, not by the index of instants
    fits = f"{CALLS} WHERE {near}"
    rows = connection.execute(
        f"SELECT {key}, {owner}, {SPEND} {fits}{' AND a.call IS NOT NULL' if key.startswith('a.') else ''}"
        f" GROUP BY 1, 2 ORDER BY cost DESC, 3 DESC, 1, 2 LIMIT {SPEND_ROWS_MAX}",
        values,
    ).fetchall()
    found = f"SELECT count(*), {_iso('min(o.at_ms)')} FROM outcome o WHERE {near}"
    looked_at, from_at = connection.execute(found, values).fetchone()
    older = f"SELECT 1 FROM outcome o WHERE o.seq <= {floor} AND {where} LIMIT 1"
    capped = connection.execute(older, values).fetchone() is not None
    return report.Usage(by, [_spend_row(*row) for row in rows], looked_at, capped, from_at)


def newest(connection: sqlite3.Connection) -> int:
    (seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM outcome").fetchone()
    return int(seq)


def agents(connection: sqlite3.Connection, since_ms: int | None) -> list[report.AgentRow]:
    where, values = _between(since_ms, None)
    rows = connection.execute(
        f"SELECT o.agent, count(DISTINCT {TENANT} || '/' || o.run), {SUMMARY} {CALLS} WHERE {where}"
        f" GROUP BY 1 ORDER BY 1 LIMIT {SPEND_ROWS_MAX}",
        values,
    ).fetchall()
    return [report.AgentRow(row[0], row[1], report.Summary(*row[2:])) for row in rows]


def requests(
    connection: sqlite3.Connection, filters: Mapping[str, str], limit: int, *, window: Where, before: int | None
) -> report.Requests:
    unknown = [name for name in filters if name not in FILTERS]
    if unknown:
        raise ProxyError("invalid_request", f"unknown parameter {', '.join(unknown)}: filters are {', '.join(FILTERS)}")
    below = newest(connection) + 1 if before is None else before
    floor = below - FILTERED_CALLS_MAX
    where = " AND ".join([window[0], "o.seq < ?", "o.seq >= ?", *(f"{FILTERS[name]} = ?" for name in filters)])
    rows = connection.execute(
        f"SELECT o.seq, {REQUEST} FROM outcome o WHERE {where} ORDER BY o.seq DESC LIMIT ?",
        [*window[1], below, floor, *filters.values(), limit],
    ).fetchall()
    found = [report.RequestRow(*row[1:]) for row in rows]
    if len(rows) == limit:
        return report.Requests(rows=found, before=rows[-1][0])
    back_to = older(connection, floor, window)
    return report.Requests(rows=found, before=None if back_to is None else floor, looked_back_to=back_to)


def older(connection: sqlite3.Connection, floor: int, window: Where) -> str | None:
    """When the latest call below `floor` arrived; None: none, or none that could lie in the window. Calls are numbered
    as they end, so what ended before the window has begun is followed by nothing that fits."""
    last = connection.execute(
        f"SELECT {END_MS}, {_iso('o.at_ms')} FROM outcome o WHERE o.seq < ? ORDER BY o.seq DESC LIMIT 1", [floor]
    ).fetchone()
    if last is None or (window[1] and last[0] < window[1][0]):
        return None
    return str(last[1])


class ExplainPrice(Protocol):
    def __call__(self, price_id: str, provider: str, model: str, usage: Usage) -> Bill | None:
        """The arithmetic of a cost, line by line; None when the price record is not known any more."""
        ...


REQUEST_WHERE = f"""SELECT o.*, {_iso("o.at_ms")} AS at, nullif(lower(hex(o.hash)), '') AS hash
    FROM outcome o WHERE"""
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
    rows = _dicts(connection, "SELECT * FROM attempt WHERE call = ? ORDER BY number, position", fields["seq"])
    tags = json.decode(str(fields.pop("tags") or "[]"), type=list[tuple[str, str]])
    charges = charges_of(str(fields.pop("charges") or "[]"))
    decisions = json.decode(str(fields.pop("decisions") or "[]"), type=list[report.Decided])
    return report.RequestDetail(
        fields=fields,
        tags=tags,
        charges=[_charged(charge) for charge in charges],
        attempts=[report.AttemptDetail(fields=row, price=_price(row, explain_price)) for row in rows],
        decision=report.decision(fields, rows, decisions),
    )


def _charged(charge: Charge) -> report.Charged:
    of = charge.period
    return report.Charged(of.account, of.unit, of.per, of.id, of.carrier, charge.amount, charge.overrun)


def _dicts(connection: sqlite3.Connection, query: str, value: report.Value) -> list[report.Fields]:
    cursor = connection.execute(query, [value])
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _price(row: report.Fields, explain_price: ExplainPrice) -> Bill | None:
    if row["price_id"] is None or row["usage_source"] is None or row["gpu_s"] is not None:
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

    async def usage(self, by: str, since_ms: int | None = None) -> report.Usage:
        return await self._ledger.query(partial(usage, by=by, since_ms=since_ms))

    async def agents(self, since_ms: int | None = None) -> list[report.AgentRow]:
        return await self._ledger.query(partial(agents, since_ms=since_ms))

    async def requests(
        self, filters: Mapping[str, str], limit: int, *, since_ms: int | None = None, before: int | None = None
    ) -> report.Requests:
        question = partial(requests, filters=filters, limit=limit, window=_between(since_ms, None), before=before)
        return await self._ledger.query(question)

    async def request(self, id: str) -> report.RequestDetail | None:
        return await self._ledger.query(partial(request, id=id, explain_price=self._explain_price))
