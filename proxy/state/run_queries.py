"""The questions about runs, as SQL: the latest ones, one as a tree, and what a gate must know of them at its start.

A run is its id: calls of several agents and keys may share one. Sums are aggregates of all of its calls; how many calls
and children are listed, and over how many the critical path is sought, is bounded, so a run of any size is answered.
"""

# ruff: noqa: S608  # every name that is put into a statement stands in this file or the next; values are always bound

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial

from msgspec import structs

from proxy.state import report, run_report
from proxy.state.ledger import Ledger
from proxy.state.ledger_queries import CALLS, END_MS, FILTERED_CALLS_MAX, REQUEST, SUMMARY, newest, older
from proxy.state.run_report import Found, RunRow, RunTree, Step

CALLS_SHOWN_MAX = 500  # over the whole tree
STEPS_MAX = 50_000  # calls of the whole tree among which the critical path is sought
TREE_RUNS_MAX = 200
TREE_DEPTH_MAX = 8  # runs deeper than that cannot be made
COMMANDS_MAX = 100_000  # read back at a start, the newest
LABELS_MAX = 50_000  # the same
CALLS_LOOKED_AT = 50_000  # ... and of the calls, for who stands below whom
UNASKED_MAX = 500


def runs(
    connection: sqlite3.Connection, limit: int, *, agent: str | None, since_ms: int | None, before: int | None
) -> run_report.Runs:
    """The runs whose last call (of `agent`, if given) lies in the page, each with all of its calls (of `agent`). A page
    looks at so many calls at most, so it may be short, or empty, and still have a next one."""
    below = newest(connection) + 1 if before is None else before
    floor = below - FILTERED_CALLS_MAX
    mine = "" if agent is None else " AND agent = ?"
    own = [] if agent is None else [agent]
    rows = connection.execute(
        f"SELECT o.seq, o.run FROM outcome o WHERE o.run IS NOT NULL{mine} AND o.at_ms >= ?"
        " AND o.seq < ? AND o.seq >= ?"
        f" AND o.seq = (SELECT max(seq) FROM outcome WHERE run = o.run{mine}) ORDER BY o.seq DESC LIMIT ?",
        [*own, since_ms or 0, below, floor, *own, limit],
    ).fetchall()
    found = [_row(connection, run, agent) for _, run in rows]
    if len(rows) == limit:
        return run_report.Runs(rows=found, before=rows[-1][0])
    more = older(connection, floor, ("", [] if since_ms is None else [since_ms])) is not None
    return run_report.Runs(rows=found, before=floor if more else None)


def _row(connection: sqlite3.Connection, run: str, agent: str | None = None) -> RunRow:
    where, values = ("o.run = ?", [run]) if agent is None else ("o.run = ? AND o.agent = ?", [run, agent])
    (summary,) = connection.execute(f"SELECT max(o.parent_run), {SUMMARY} {CALLS} WHERE {where}", values).fetchall()
    names = connection.execute(f"SELECT DISTINCT o.agent FROM outcome o WHERE {where} ORDER BY 1", values).fetchall()
    parent = None if summary[0] == run else summary[0]
    return RunRow(run=run, parent=parent, agents=[name for (name,) in names], summary=report.Summary(*summary[1:]))


class _Walk:
    """Down a tree of runs, within bounds and never in a circle: parents are named by clients."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
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
        row = _row(self._connection, run)
        steps = self._steps(run)
        longest = self._requests(run, "o.duration_s DESC, o.seq", 1)
        calls = self._requests(run, "o.seq DESC", self._calls_left)[::-1]
        self._calls_left -= len(calls)
        truncated = len(calls) < row.summary.calls or len(steps) < row.summary.calls
        return Found(row, calls, steps, longest[0] if longest else None, truncated)

    def _requests(self, run: str, order: str, limit: int) -> list[report.RequestRow]:
        rows = self._connection.execute(
            f"SELECT {REQUEST} FROM outcome o WHERE o.run = ? ORDER BY {order} LIMIT ?", [run, limit]
        ).fetchall()
        return [report.RequestRow(*row) for row in rows]

    def _steps(self, run: str) -> list[Step]:
        rows = self._connection.execute(
            f"SELECT o.request_id, o.at_ms, {END_MS} FROM outcome o WHERE o.run = ? ORDER BY o.seq DESC LIMIT ?",
            [run, self._steps_left],
        ).fetchall()
        self._steps_left -= len(rows)
        return [Step(*row) for row in rows]

    def _children(self, run: str) -> list[str]:
        rows = self._connection.execute(
            "SELECT run FROM outcome WHERE parent_run = ? AND run IS NOT NULL AND run <> parent_run"
            " GROUP BY run ORDER BY min(seq) LIMIT ?",
            [run, TREE_RUNS_MAX],
        ).fetchall()
        return [child for (child,) in rows]


def run(connection: sqlite3.Connection, id: str) -> RunTree | None:
    made, steps = _Walk(connection).tree(id)
    return made if steps or made.children else None


def known(connection: sqlite3.Connection, ids: Sequence[str]) -> set[str]:
    """Those of them that have a call in the ledger."""
    found = set[str]()
    for id in ids[:UNASKED_MAX]:
        if connection.execute("SELECT 1 FROM outcome WHERE run = ? LIMIT 1", [id]).fetchone() is not None:
            found.add(id)
    return found


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


def lately(connection: sqlite3.Connection, since_ms: int) -> list[tuple[str, str | None, int, int]]:
    """(run, parent, first, last in milliseconds) of the runs with a call since then, the longest unused first; as far
    as the newest calls tell."""
    return connection.execute(
        f"SELECT run, max(parent_run), min(at_ms), max({END_MS}) AS last FROM outcome o"
        " WHERE seq > (SELECT max(seq) FROM outcome) - ? AND run IS NOT NULL AND at_ms >= ? GROUP BY run ORDER BY last",
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

    async def run(self, id: str) -> RunTree | None:
        return await self._ledger.query(partial(run, id=id))

    async def known(self, ids: Sequence[str]) -> set[str]:
        return await self._ledger.query(partial(known, ids=ids))
