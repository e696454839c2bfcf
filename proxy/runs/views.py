"""Runs as people see them: what the ledger knows of them, and beside it what is live.

The ledger has a call once it has ended; a run whose first call is still in flight is only known here. Sums stay the
ledger's. With several processes that serve, `look` asks each of them. People call runs by their names: `find` says
which run is meant, everything else goes by its id (`proxy.tenancy`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import structs

from policies.limits import Standing
from proxy.errors import ProxyError
from proxy.money.budgets import Budgets
from proxy.runs.registry import RunState
from proxy.state.run_queries import RunReports
from proxy.state.run_report import LimitRow, RunRow, Runs, RunTree, unrecorded
from proxy.tenancy import is_tenant, run_id, run_name, split

DEPTH_MAX = 8
OWNERS_TOLD = 10

States = Mapping[str, RunState]  # by id


class Look(Protocol):
    """The states of these runs, of all of that name, and of all that have calls in flight."""

    def __call__(self, runs: Sequence[str], named: str = "", /) -> Awaitable[list[RunState]]: ...


class RunViews:
    def __init__(self, reports: RunReports, budgets: Budgets, look: Look) -> None:
        self._reports = reports
        self._budgets = budgets
        self._look = look

    async def find(self, name: str, tenant: str | None = None) -> str | None:
        """The id of the run that is called so, whoever's it is; with `tenant` of that one's, seen or not. None: nobody
        has one. Raises ProxyError where several have."""
        if tenant is not None:
            if not is_tenant(tenant):
                message = "a tenant is a team, `team:NAME`, or a key without one, `key:ID`"
                raise ProxyError("invalid_request", message, param="tenant")
            return run_id(tenant, name)
        live = [state.run for state in await self._look([], name) if run_name(state.run) == name]
        found = sorted({*live, *[run_id(owner, name) for owner in await self._reports.owners(name)]})
        if len(found) > 1:
            raise _ambiguous(found)
        return found[0] if found else None

    async def seen(self, id: str) -> bool:
        """By the ledger, or by a process where its first call is still in flight."""
        if await self._reports.known([_whose(id)]):
            return True
        states = await self._look([id])
        return any(state.run == id and (state.in_flight or state.children or state.parent) for state in states)

    async def runs(
        self, limit: int, *, agent: str | None = None, since_ms: int | None = None, before: int | None = None
    ) -> Runs:
        page = await self._reports.runs(limit, agent=agent, since_ms=since_ms, before=before)
        states = _by_run(await self._look([_id(row) for row in page.rows]))
        rows = [_live_row(row, states) for row in page.rows]
        if before is None:
            rows = [*await self._begun(states, agent), *rows]
        return structs.replace(page, rows=rows)

    async def run(self, id: str) -> RunTree | None:
        tree = await self._reports.run(_whose(id))
        ids = [id] if tree is None else list(_ids(tree))
        states = _by_run(await self._look(ids))
        if tree is None:
            state = states.get(id)
            if state is None or (state.state == "idle" and not state.children and state.parent is None):
                return None
            tree = _unrecorded(state)
        return self._live_tree(tree, states, DEPTH_MAX)

    async def _begun(self, states: States, agent: str | None) -> list[RunRow]:
        """Runs none of whose calls has ended."""
        busy = [each for each in states.values() if each.in_flight and (agent is None or agent in each.agents)]
        known = await self._reports.known([_whose(each.run) for each in busy])
        rows = [_unrecorded(each).run for each in busy if _whose(each.run) not in known]
        return [_live_row(row, states) for row in rows]

    def _live_tree(self, tree: RunTree, states: States, depth: int) -> RunTree:
        id = _id(tree.run)
        state = states.get(id)
        there = {_id(child.run) for child in tree.children}
        begun = [child for child in (state.children if state else ()) if child not in there and child in states]
        new = [_unrecorded(structs.replace(states[child], parent=id)) for child in begun]
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
    state = states.get(_id(row))
    if state is None:
        return row
    stopped_by = None if state.stopped_by is None else run_name(state.stopped_by)
    return structs.replace(row, state=state.state, stopped_by=stopped_by, in_flight=state.in_flight, loops=state.loops)


def _id(row: RunRow) -> str:
    return run_id(row.tenant, row.run)


def _whose(id: str) -> tuple[str, str]:
    """As the ledger is asked: name and tenant."""
    owner, name = split(id)
    return name, owner


def _unrecorded(state: RunState) -> RunTree:
    owner, name = split(state.run)
    return unrecorded(name, owner, None if state.parent is None else run_name(state.parent), state.agents)


def _ambiguous(ids: Sequence[str]) -> ProxyError:
    owners = [split(id)[0] for id in ids]
    more = f" and {len(owners) - OWNERS_TOLD} more" if len(owners) > OWNERS_TOLD else ""
    told = ", ".join(owners[:OWNERS_TOLD]) + more
    message = f"several tenants have a run of this name, {told}: name one as `tenant` (--tenant)"
    return ProxyError("invalid_request", message, status=409, param="tenant")


def _ids(tree: RunTree) -> Iterable[str]:
    yield _id(tree.run)
    for child in tree.children:
        yield from _ids(child)
