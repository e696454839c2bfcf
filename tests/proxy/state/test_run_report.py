"""What follows from the calls of a run alone: its critical path, its wall time, its longest step."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.state.run_report import Step, critical_path, unrecorded

CHAINS = [
    ([], ""),
    ([Step("a", 0, 5)], "a"),
    ([Step("a", 0, 5), Step("b", 5, 10)], "ab"),
    ([Step("a", 0, 5), Step("b", 4, 9)], "a"),
    ([Step("p", 0, 2), Step("l", 2, 5), Step("r", 2, 9), Step("s", 9, 10)], "prs"),
    ([Step("w", 0, 10), Step("a", 1, 3), Step("b", 4, 6)], "w"),
]


@pytest.mark.parametrize(("steps", "path"), CHAINS)
def test_the_critical_path_is_the_longest_chain_of_calls_one_after_the_other(steps: list[Step], path: str) -> None:
    assert "".join(step.id for step in critical_path(steps)) == path


SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), max_size=7)


@given(SPANS)
def test_no_other_chain_is_longer(spans: list[tuple[int, int]]) -> None:
    found = critical_path([Step(str(index), begin, begin + length) for index, (begin, length) in enumerate(spans)])
    chains = [
        sum(length for _, length in chain)
        for size in range(len(spans) + 1)
        for chain in combinations(sorted(spans), size)
        if all(a[0] + a[1] <= b[0] for a, b in pairwise(chain))
    ]
    assert sum(step.end_ms - step.begin_ms for step in found) == max(chains)
    assert all(one.end_ms <= other.begin_ms for one, other in pairwise(found))


def test_a_run_without_an_ended_call_has_nothing_to_show() -> None:
    tree = unrecorded("r", "key:k", "p", ("a",))
    assert (tree.run.run, tree.run.tenant, tree.run.parent, tree.run.agents, tree.run.summary.calls) == (
        "r",
        "key:k",
        "p",
        ["a"],
        0,
    )
    assert (tree.wall_s, tree.critical_path.seconds, tree.critical_path.share) == (0.0, 0.0, None)
