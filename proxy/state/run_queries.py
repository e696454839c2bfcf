"""The questions about runs, as SQL: the latest ones, one as a tree, and what a gate must know of them at its start.

A run is its tenant and its name: calls of several agents, and of all keys of one team, may share one. Sums are
aggregates of all of its calls; how many calls and children are listed, and over how many the critical path is sought,
is bounded, so a run of any size is answered.
"""

# ruff: noqa: S608  # every name that is put into a statement stands in this file or the next; values are always bound

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial

from msgspec import structs

from proxy.state import report, run_report
from proxy.state.ledger import Ledger
from proxy.state.ledger_queries import CALLS, END_MS, FILTERED_CALLS_MAX, REQUEST, SUMMARY, TENANT, newest, older
from proxy.state.run_report import Found, RunRow, RunTree, Step

CALLS_SHOWN_MAX = 500  # over the whole tree
STEPS_MAX = 50_000  # calls of the whole tree among which the critical path is sought
TREE_RUNS_MAX = 200
TREE_DEPTH_MAX = 8  # runs deeper than that cannot be made
COMMANDS_MAX = 100_000  # read back at a start, the newest
LABELS_MAX = 50_000  # the same
CALLS_LOOKED_AT = 50_000  # ... and of the calls, for who stands below whom
UNASKED_MAX = 500
OWNERS_MAX = 100  # of one name

MINE = f"o.run = ? AND {TENANT} = ?"
# Ends at the next call of the same run, so most calls are looked at once.
LATER = f"SELECT 1 FROM outcome i WHERE i.run = o.run AND i.seq > o.seq AND {TENANT.replace('o.', 'i.')} = {TENANT}"

Whose = tuple[str, str]  # name and tenant of a run, as `MINE` wants them


def runs(
    connection: sqlite3.Connection, limit: int, *, agent: str | None, since_ms: int | None, before: int | None
) -> run_report.Runs:
    """The runs whose last call (of `agent`, if given) lies in the page, each with all of its calls (of `agent`). A page
    looks at so many calls at most, so it may be short, or empty, and still have a next one."""
    below = newest(connection) + 1 if before is None else before
    floor = below - FILTERED_CALLS_MAX
    own = [] if agent is None else [agent]
    mine, later = ("", LATER) if agent is None else (" AND o.agent = ?", f"{LATER} AND i.agent = ?")
    rows = connection.execute(
        f"SELECT o.seq, o.run, {TENANT} FROM outcome o WHERE o.run IS NOT NULL{mine} AND o.at_ms >= ?"
        f" AND o.seq < ? AND o.seq >= ? AND NOT EXISTS ({later}) ORDER BY o.seq DESC LIMIT ?",
        [*own, since_ms or 0, below, floor, *own, limit],
    ).fetchall()
    found = [_row(connection, (run, owner), agent) for _, run, owner in rows]
    if len(rows) == limit:
        return run_report.Runs(rows=found, before=rows[-1][0])
    more = older(connection, floor, ("", [] if since_ms is None else [since_ms])) is not None
    return run_report.Runs(rows=found, before=floor if more else None)


def _row(connection: sqlite3.Connection, whose: Whose, agent: str | None = None) -> RunRow:
    run, owner = whose
    where, values = (MINE, [*whose]) if agent is None else (f"{MINE} AND o.agent = ?", [*whose, agent])
    (summary,) = connection.execute(f"SELECT max(o.parent_run), {SUMMARY} {CALLS} WHERE {where}", values).fetchall()
    names = connection.execute(f"SELECT DISTINCT o.agent FROM outcome o WHERE {where} ORDER BY 1", values).fetchall()
    parent = None if summary[0] == run else summary[0]
    return RunRow(run, owner, parent, agents=[name for (name,) in names], summary=report.Summary(*summary[1:]))


class _Walk:
    """Down a tree of runs of one tenant, within bounds and never in a circle: parents are named by clients."""

    def __init__(self, connection: sqlite3.Connection, owner: str) -> None:
        self._connection = connection
        self._owner = owner
        self._seen: set[str] = set()
        self._calls_left = CALLS_SHOWN_MAX
        self._steps_left = STEPS_MAX

    def tree(self, run: str, depth: int = 0) -> tuple[RunTree, list[Step]]:
        self._seen.add(run)
        found = self._found(run)
        below = self._children(run)
        fits = [child for child in below if child not in self._seen and depth < TREE_DEPTH_MAX]
        children = [self.tree(child, depth + 1) for child in fits if len(self._seen) < TREE_RUNS_MAX]
        if len(children) < len(below):
            found = structs.replace(found, truncated=True)
        return run_report.tree(found, children)

    def _found(self, run: str) -> Found:
        row = _row(self._connection, (run, self._owner))
        steps = self._steps(run)
        longest = self._requests(run, "o.duration_s DESC, o.seq", 1)
        calls = self._requests(run, "o.seq DESC", self._calls_left)[::-1]
        self._calls_left -= len(calls)
        truncated = len(calls) < row.summary.calls or len(steps) < row.summary.calls
        return Found(row, calls, steps, longest[0] if longest else None, truncated)

    def _requests(self, run: str, order: str, limit: int) -> list[report.RequestRow]:
        rows = self._connection.execute(
            f"SELECT {REQUEST} FROM outcome o WHERE {MINE} ORDER BY {order} LIMIT ?", [run, self._owner, limit]
        ).fetchall()
        return [report.RequestRow(*row) for row in rows]

    def _steps(self, run: str) -> list[Step]:
        rows = self._connection.execute(
            f"SELECT o.request_id, o.at_ms, {END_MS} FROM outcome o WHERE {MINE} ORDER BY o.seq DESC LIMIT ?",
            [run, self._owner, self._steps_left],
        ).fetchall()
        self._steps_left -= len(rows)
        return [Step(*row) for row in rows]

    def _children(self, run: str) -> list[str]:
        rows = self._connection.execute(
            f"SELECT o.run FROM outcome o WHERE o.parent_run = ? AND {TENANT} = ? AND o.run IS NOT NULL"
            " AND o.run <> o.parent_run GROUP BY o.run ORDER BY min(o.seq) LIMIT ?",
            [run, self._owner, TREE_RUNS_MAX],
        ).fetchall()
        return [child for (child,) in rows]


def run(connection: sqlite3.Connection, whose: Whose) -> RunTree | None:
    name, owner = whose
    made, steps = _Walk(connection, owner).tree(name)
    return made if steps or made.children else None


def known(connection: sqlite3.Connection, asked: Sequence[Whose]) -> set[Whose]:
    """Those of them that have a call in the ledger."""
    found = set[Whose]()
    for whose in asked[:UNASKED_MAX]:
        if connection.execute(f"SELECT 1 FROM outcome o WHERE {MINE} LIMIT 1", whose).fetchone() is not None:
            found.add(whose)
    return found


def owners(connection: sqlite3.Connection, name: str) -> list[str]:
    """The tenants of whose calls one named that run, as its own or as the one above it."""
    rows = connection.execute(
        f"SELECT {TENANT} FROM outcome o WHERE o.run = ? UNION SELECT {TENANT} FROM outcome o WHERE o.parent_run = ?"
        " ORDER BY 1 LIMIT ?",
        [name, name, OWNERS_MAX],
    ).fetchall()
    return [owner for (owner,) in rows]


def commands(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """(kind, subject, body) of what operators said of runs and accounts, the oldest first."""
    rows = connection.execute(
        "SELECT kind, subject, body FROM event WHERE kind IN ('run', 'topup') ORDER BY seq DESC LIMIT ?", [COMMANDS_MAX]
    ).fetchall()
    return rows[::-1]


def labels(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """(kind, body) of what was learnt of the rungs of cascades, and of what was to be forgotten, the oldest first."""
    rows = connection.execute(
        "SELECT kind, body FROM event WHERE kind IN ('label', 'label_reset') ORDER BY seq DESC LIMIT ?", [LABELS_MAX]
    ).fetchall()
    return rows[::-1]


def lately(connection: sqlite3.Connection, since_ms: int) -> list[tuple[str, str, str | None, int, int]]:
    """(tenant, run, parent, first, last in milliseconds) of the runs with a call since then, the longest unused first;
    as far as the newest calls tell."""
    return connection.execute(
        f"SELECT {TENANT}, run, max(parent_run), min(at_ms), max({END_MS}) AS last FROM outcome o"
        " WHERE seq > (SELECT max(seq) FROM outcome) - ? AND run IS NOT NULL AND at_ms >= ?"
        " GROUP BY 1, run ORDER BY last",
        [CALLS_LOOKED_AT, since_ms],
    ).fetchall()


class RunReports:
    """The same questions, put to a ledger from the event loop; every answer includes all calls that have ended."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def runs(
        self, limit: int, *, agent: str | None = None, since_ms: int | None = None, before: int | None = None
    ) -> run_report.Runs:
        return await self._ledger.query(partial(runs, limit=limit, agent=agent, since_ms=since_ms, before=before))

    async def run(self, whose: Whose) -> RunTree | None:
        return await self._ledger.query(partial(run, whose=whose))

    async def known(self, asked: Sequence[Whose]) -> set[Whose]:
        return await self._ledger.query(partial(known, asked=asked))

    async def owners(self, name: str) -> list[str]:
        return await self._ledger.query(partial(owners, name=name))
