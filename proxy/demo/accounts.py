"""What the gate's own ledger says at the end of the demo: who spent what, and what each attempt was for.

Only questions; the answers are compared with the providers' invoices elsewhere.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping

from msgspec import Struct

from proxy.demo.check import Purpose
from proxy.demo.result import AgentSpend, Hedges, TreeSpend
from proxy.state.ledger import Ledger
from proxy.state.ledger_queries import LedgerReports
from proxy.state.run_queries import RunReports

RUNS_MAX = 10_000

PURPOSES = """SELECT a.provider, a.upstream_request_id, o.run,
    CASE WHEN a.role = 'hedge' THEN 'hedge' WHEN a.role = 'retry' OR o.client_retry > 0 THEN 'retry' ELSE 'first' END,
    CASE WHEN a.usage_source = 'reported' THEN a.cost_usd_nanos END
    FROM attempt a JOIN outcome o ON a.call = o.seq WHERE a.upstream_request_id IS NOT NULL"""
HEDGES = """SELECT count(*), coalesce(sum(o.served_by = 'hedge'), 0)
    FROM attempt a JOIN outcome o ON a.call = o.seq WHERE a.role = 'hedge'"""
KNOWN = "SELECT coalesce(sum(served_by = 'cache'), 0), coalesce(sum(served_by = 'join'), 0) FROM outcome"
ESTIMATED = "SELECT count(*) FROM attempt WHERE usage_source IS NOT NULL AND usage_source <> 'reported'"


class Accounts(Struct, frozen=True):
    usd_nanos: int
    estimated_attempts: int
    hedges: Hedges
    answered: tuple[int, int]  # from what was known, by joining a call that ran
    purposes: Mapping[tuple[str, str], Purpose]  # by provider and request id
    agents: list[AgentSpend]
    trees: list[TreeSpend]  # dearest first


async def accounts(ledger: Ledger) -> Accounts:
    """Of all calls that have ended."""
    reports = LedgerReports(ledger)
    spend = await reports.spend("agent")
    agents = [
        AgentSpend(row.agent, row.runs, row.summary.calls, row.summary.errors, row.summary.cost_usd_nanos)
        for row in await reports.agents()
    ]
    return Accounts(
        usd_nanos=spend.total.cost_usd_nanos,
        estimated_attempts=await ledger.query(_estimated),
        hedges=await ledger.query(_hedges),
        answered=await ledger.query(_answered),
        purposes=await ledger.query(_purposes),
        agents=sorted(agents, key=lambda row: -row.usd_nanos),
        trees=await _trees(RunReports(ledger)),
    )


async def _trees(reports: RunReports) -> list[TreeSpend]:
    """Each run that has no parent, with everything below it."""
    runs = (await reports.runs(RUNS_MAX)).rows
    parents = {row.run: row.parent for row in runs}
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in runs:
        root = parents[row.run] or row.run
        for at, value in enumerate((1, row.summary.calls, row.summary.cost_usd_nanos)):
            sums[root][at] += value
    trees = [TreeSpend(run, *values) for run, values in sums.items()]
    return sorted(trees, key=lambda tree: -tree.usd_nanos)


def _purposes(connection: sqlite3.Connection) -> dict[tuple[str, str], Purpose]:
    rows = connection.execute(PURPOSES).fetchall()
    return {(provider, id): Purpose(run or "", cause, reported) for provider, id, run, cause, reported in rows}


def _hedges(connection: sqlite3.Connection) -> Hedges:
    return Hedges(*connection.execute(HEDGES).fetchone())


def _answered(connection: sqlite3.Connection) -> tuple[int, int]:
    hits, joined = connection.execute(KNOWN).fetchone()
    return int(hits), int(joined)


def _estimated(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute(ESTIMATED).fetchone()
    return int(count)
