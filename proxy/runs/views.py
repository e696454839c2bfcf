"""Runs as people see them: what the ledger knows of them, and beside it what is live.

The ledger has a call once it has ended; a run whose first call is still in flight is only known here. Sums stay the
ledger's. With several processes that serve, `look` asks each of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from msgspec import structs

from policies.limits import Standing
from proxy.money.budgets import Budgets
from proxy.runs.registry import RunState
from proxy.state.run_queries import RunReports
from proxy.state.run_report import LimitRow, RunRow, Runs, RunTree, unrecorded

DEPTH_MAX = 8

Look = Callable[[Sequence[str]], Awaitable[list[RunState]]]
States = Mapping[str, RunState]


class RunViews:
    def __init__(self, reports: RunReports, budgets: Budgets, look: Look) -> None:
        """`look`: the states of these runs, and of all that have calls in flight."""
        self._reports = reports
        self._budgets = budgets
        self._look = look

    async def seen(self, id: str) -> bool:
        """By the ledger, or by a process where its first call is still in flight."""
        if await self._reports.known([id]):
            return True
        states = await self._look([id])
        return any(state.run == id and (state.in_flight or state.children or state.parent) for state in states)

    async def runs(
        self, limit: int, *, agent: str | None = None, since_ms: int | None = None, before: int | None = None
    ) -> Runs:
        page = await self._reports.runs(limit, agent=agent, since_ms=since_ms, before=before)
        states = _by_run(await self._look([row.run for row in page.rows]))
        rows = [_live_row(row, states) for row in page.rows]
        if before is None:
            rows = [*await self._begun(states, agent), *rows]
        return structs.replace(page, rows=rows)

    async def run(self, id: str) -> RunTree | None:
        tree = await self._reports.run(id)
        ids = [id] if tree is None else list(_ids(tree))
        states = _by_run(await self._look(ids))
        if tree is None:
            state = states.get(id)
            if state is None or (state.state == "idle" and not state.children and state.parent is None):
                return None
            tree = unrecorded(id, state.parent, state.agents)
        return self._live_tree(tree, states, DEPTH_MAX)

    async def _begun(self, states: States, agent: str | None) -> list[RunRow]:
        """Runs none of whose calls has ended."""
        busy = [each for each in states.values() if each.in_flight and (agent is None or agent in each.agents)]
        known = await self._reports.known([each.run for each in busy])
        rows = [unrecorded(each.run, each.parent, each.agents).run for each in busy if each.run not in known]
        return [_live_row(row, states) for row in rows]

    def _live_tree(self, tree: RunTree, states: States, depth: int) -> RunTree:
        id = tree.run.run
        state = states.get(id)
        there = {child.run.run for child in tree.children}
        begun = [child for child in (state.children if state else ()) if child not in there and child in states]
        new = [unrecorded(child, id, states[child].agents) for child in begun]
        children = [self._live_tree(child, states, depth - 1) for child in (*tree.children, *new) if depth > 0]
        return structs.replace(tree, run=_live_row(tree.run, states), children=children, budget=self._budget(id))

    def _budget(self, id: str) -> list[LimitRow]:
        return [limit_row(standing) for standing in self._budgets.standing(f"run:{id}")]


def limit_row(standing: Standing) -> LimitRow:
    totals = standing.totals
    spent = totals.spent + totals.overrun + totals.unresolved
    return LimitRow(
        unit=standing.period.unit,
        window=standing.period.per,
        carrier=standing.period.carrier,
        limit=standing.limit,
        spent=spent,
        held=standing.held,
        left=max(0, standing.limit - spent - standing.held),
    )


def _by_run(states: Iterable[RunState]) -> dict[str, RunState]:
    return {state.run: state for state in states}


def _live_row(row: RunRow, states: States) -> RunRow:
    state = states.get(row.run)
    if state is None:
        return row
    return structs.replace(
        row, state=state.state, stopped_by=state.stopped_by, in_flight=state.in_flight, loops=state.loops
    )


def _ids(tree: RunTree) -> Iterable[str]:
    yield tree.run.run
    for child in tree.children:
        yield from _ids(child)
