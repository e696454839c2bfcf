"""What the gate's own ledger says at the end of the demo: who spent what, and which attempts were retries.

Only questions; the answers are compared with the providers' invoices elsewhere.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import defaultdict

from msgspec import Struct

from proxy.app import Gate
from proxy.demo.result import AgentSpend, TreeSpend
from proxy.state.ledger_queries import LedgerReports

SETTLE_LOOKS, SETTLE_EACH_S = 250, 0.02  # a call is in the ledger a moment after its client has the last byte
RUNS_MAX = 10_000

RETRIED = """SELECT a.provider, a.upstream_request_id FROM attempt a JOIN outcome o ON a.call = o.seq
    WHERE a.upstream_request_id IS NOT NULL AND (a.role = 'retry' OR o.client_retry > 0)"""
ESTIMATED = "SELECT count(*) FROM attempt WHERE usage_source IS NOT NULL AND usage_source <> 'reported'"


class Accounts(Struct, frozen=True):
    usd_nanos: int
    estimated_attempts: int
    retried: frozenset[tuple[str, str]]  # provider, request id
    agents: list[AgentSpend]
    trees: list[TreeSpend]  # dearest first


async def accounts(gate: Gate) -> Accounts:
    await _settled(gate)
    reports = LedgerReports(gate.ledger)
    spend = await reports.spend("agent")
    agents = [
        AgentSpend(row.agent, row.runs, row.summary.calls, row.summary.errors, row.summary.cost_usd_nanos)
        for row in await reports.agents()
    ]
    return Accounts(
        usd_nanos=spend.total.cost_usd_nanos,
        estimated_attempts=await gate.ledger.query(_estimated),
        retried=await gate.ledger.query(_retried),
        agents=sorted(agents, key=lambda row: -row.usd_nanos),
        trees=await _trees(reports),
    )


async def _settled(gate: Gate) -> None:
    for _ in range(SETTLE_LOOKS):
        if not gate.pipeline.in_flight:
            return
        await asyncio.sleep(SETTLE_EACH_S)


async def _trees(reports: LedgerReports) -> list[TreeSpend]:
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


def _retried(connection: sqlite3.Connection) -> frozenset[tuple[str, str]]:
    return frozenset((provider, id) for provider, id in connection.execute(RETRIED).fetchall())


def _estimated(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute(ESTIMATED).fetchone()
    return int(count)
