"""Runs whose calls are spread over several processes are shown as one."""

from __future__ import annotations

from proxy.runs.registry import RunState
from proxy.workers.states import merged


def test_calls_add_up_and_the_strongest_state_holds() -> None:
    here = RunState("r", "running", agents=("a",), in_flight=2, children=("c1",), loops=2)
    there = RunState(
        "r", "killed", stopped_by="p", parent="p", agents=("b",), in_flight=1, children=("c1", "c2"), loops=1
    )
    other = RunState("s", "idle")
    assert merged([here, other, there]) == [
        RunState("r", "killed", "p", "p", ("a", "b"), 3, ("c1", "c2"), 3),
        other,
    ]
