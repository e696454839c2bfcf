"""One picture of runs whose calls are spread over several processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proxy.runs.registry import RunState, State

STRONGEST: Final[tuple[State, ...]] = ("killed", "paused", "running", "idle")


def merged(states: Iterable[RunState]) -> list[RunState]:
    """Calls add up, agents and children are put together, and the state is the strongest that any process has."""
    found: dict[str, RunState] = {}
    for state in states:
        other = found.get(state.run)
        found[state.run] = state if other is None else _both(other, state)
    return list(found.values())


def _both(one: RunState, other: RunState) -> RunState:
    strong = one if STRONGEST.index(one.state) <= STRONGEST.index(other.state) else other
    return RunState(
        run=one.run,
        state=strong.state,
        stopped_by=strong.stopped_by,
        parent=one.parent or other.parent,
        agents=tuple(sorted({*one.agents, *other.agents})),
        in_flight=one.in_flight + other.in_flight,
        children=tuple(dict.fromkeys((*one.children, *other.children))),
        loops=one.loops + other.loops,
    )
