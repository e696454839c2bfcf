"""The tree of runs: who stands below whom, what a run may do, and that its counters are those of a plain model."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.runs import KEPT_LEAST, LEVELS_MAX, Bounds, Excess, Run, RunLimits, Stop, Tree

NAMES = ("a", "b", "c", "d", "e", "f", "g")


def chain(tree: Tree, *ids: str, now: float = 0.0) -> Run:
    """Each below the one before it; returns the last."""
    run = tree.place(ids[0], None, now)
    for above, id in pairwise(ids):
        run = tree.place(id, above, now)
    return run


def path(run: Run) -> str:
    return "/".join(each.id for each in run.lineage)


# --- who stands below whom -------------------------------------------------------------------------------------------


def test_a_run_draws_from_all_above_it_though_it_names_only_its_parent() -> None:
    run = chain(Tree(), "top", "middle", "low")
    assert run.accounts == ("run:top", "run:middle", "run:low")


def test_a_parent_that_is_named_once_stays_named() -> None:
    tree = Tree()
    chain(tree, "top", "low")
    assert path(tree.place("low", None, 1.0)) == "top/low"
    assert path(tree.place("low", "other", 1.0)) == "top/low"


def test_a_parent_may_be_named_late_and_the_children_move_along() -> None:
    tree = Tree()
    low = chain(tree, "middle", "low")
    tree.place("middle", "top", 1.0)
    assert path(low) == "top/middle/low"
    assert low.accounts == ("run:top", "run:middle", "run:low")


@pytest.mark.parametrize("ids", [("a", "a"), ("a", "b", "a"), ("a", "b", "c", "a")], ids="".join)
def test_no_claim_closes_a_circle(ids: tuple[str, ...]) -> None:
    tree = Tree()
    assert path(chain(tree, *ids)) == "a"
    assert len(tree) == len(set(ids))


def test_a_run_too_deep_is_refused_and_not_kept() -> None:
    tree = Tree()
    ids = [f"r{level}" for level in range(LEVELS_MAX)]
    assert chain(tree, *ids).excess(0.0) is None
    deeper = tree.place("deeper", ids[-1], 0.0)
    assert deeper.excess(0.0) == Excess("deeper", "depth", LEVELS_MAX, LEVELS_MAX + 1)
    assert tree.find("deeper") is None


def test_a_tree_that_would_become_too_deep_stays_where_it_is() -> None:
    tree = Tree()
    low = chain(tree, "x", "y", "z")
    chain(tree, "a", "b", "c")
    refused = tree.place("x", "c", 0.0)
    assert refused.excess(0.0) == Excess("x", "depth", LEVELS_MAX, 6)
    assert path(low) == "x/y/z"


# --- what a run may do -----------------------------------------------------------------------------------------------

LIMITED = [
    (RunLimits(seconds=10), 10.0, None),
    (RunLimits(seconds=10), 10.5, ("seconds", 10, 10.5)),
    (RunLimits(depth=2), 0.0, None),
    (RunLimits(depth=1), 0.0, ("depth", 1, 2)),
    (RunLimits(width=1), 0.0, None),
    (RunLimits(), 1e9, None),
]


@pytest.mark.parametrize(("limits", "now", "expected"), LIMITED)
def test_limits_of_a_run_bind_the_runs_below_it(
    limits: RunLimits, now: float, expected: tuple[str, float, float] | None
) -> None:
    low = chain(Tree(), "top", "low")
    low.lineage[0].limits = limits
    found = low.excess(now)
    assert (None if found is None else (found.limit, found.allowed, found.value)) == expected
    assert found is None or found.run == "top"


def test_a_childs_own_limits_do_not_bind_its_parent() -> None:
    low = chain(Tree(), "top", "low")
    low.limits = RunLimits(seconds=1, width=1)
    top = low.lineage[0]
    low.begin()
    assert top.excess(100.0) is None
    assert low.excess(0.5) == Excess("low", "width", 1, 2)


def test_the_clients_own_word_on_depth_counts_where_it_is_deeper() -> None:
    run = chain(Tree(), "top")
    run.limits = RunLimits(depth=2)
    assert run.excess(0.0, depth_stated=1) is None
    assert run.excess(0.0, depth_stated=2) == Excess("top", "depth", 2, 3)


def test_width_counts_calls_of_the_run_and_children_that_have_some() -> None:
    tree = Tree()
    first, second = chain(tree, "top", "one"), chain(tree, "top", "two")
    top = first.lineage[0]
    top.limits = RunLimits(width=1)
    first.begin()
    first.begin()  # a second call of the same child is no second child
    assert first.excess(0.0) is None
    assert second.excess(0.0) == Excess("top", "width", 1, 2)
    assert top.excess(0.0) is None  # its own calls are counted apart
    first.end()
    first.end()
    assert second.excess(0.0) is None


def test_a_grandchild_counts_as_its_parents_branch() -> None:
    tree = Tree()
    low = chain(tree, "top", "one", "low")
    other = chain(tree, "top", "two")
    low.lineage[0].limits = RunLimits(width=1)
    low.begin()
    assert low.lineage[1].excess(0.0) is None  # that child has a call already, below it
    assert other.excess(0.0) == Excess("top", "width", 1, 2)


# --- an operator's word ----------------------------------------------------------------------------------------------


def test_what_is_said_of_a_run_holds_for_all_below_it() -> None:
    tree = Tree()
    low = chain(tree, "top", "middle", "low")
    tree.mark("top", "paused")
    assert low.stop() == Stop("top", "paused")
    tree.mark("middle", "killed")
    assert low.stop() == Stop("middle", "killed")
    assert low.lineage[0].stop() == Stop("top", "paused")
    tree.mark("top", None)
    assert low.lineage[0].stop() is None
    assert low.stop() == Stop("middle", "killed")


def test_killed_is_final() -> None:
    tree = Tree()
    run = chain(tree, "r")
    tree.mark("r", "killed")
    for mark in ("paused", None):
        tree.mark("r", mark)
        assert run.stop() == Stop("r", "killed")


def test_a_mark_outlives_the_run_and_may_precede_it() -> None:
    tree = Tree(Bounds(runs_max=KEPT_LEAST, idle_s=1.0))
    tree.mark("early", "killed")
    assert tree.place("early", None, 0.0).stop() == Stop("early", "killed")
    for number in range(KEPT_LEAST + 1):
        tree.place(f"r{number}", None, 10.0)
    assert tree.find("early") is None
    assert tree.place("early", None, 20.0).stop() == Stop("early", "killed")


def test_marks_are_bounded_and_the_oldest_goes() -> None:
    tree = Tree(Bounds(marks_max=2))
    for id in ("a", "b", "c"):
        tree.mark(id, "killed")
    assert [tree.mark_of(id) for id in ("a", "b", "c")] == [None, "killed", "killed"]


# --- keeping and forgetting ------------------------------------------------------------------------------------------


def test_the_number_of_runs_is_bounded_and_what_is_used_is_kept() -> None:
    tree = Tree(Bounds(runs_max=KEPT_LEAST))
    busy = chain(tree, "top", "busy")
    busy.begin()
    for number in range(1_000):
        tree.place("used", None, 0.0)
        tree.place(f"r{number}", None, 0.0)
    assert len(tree) <= KEPT_LEAST
    assert all(tree.find(id) is not None for id in ("top", "busy", "used", "r999"))


def test_runs_idle_for_long_are_forgotten_and_parents_after_their_children() -> None:
    tree = Tree(Bounds(idle_s=100.0))
    chain(tree, "top", "low")
    tree.place("other", None, 99.0)
    assert len(tree) == 3
    tree.place("later", None, 150.0)
    assert [tree.find(id) is None for id in ("top", "low", "other", "later")] == [True, True, False, False]


# --- against a model -------------------------------------------------------------------------------------------------

PLACE = st.tuples(st.just("place"), st.sampled_from(NAMES), st.one_of(st.none(), st.sampled_from(NAMES)))
CALL = st.tuples(st.sampled_from(("begin", "end")), st.sampled_from(NAMES), st.none())


@given(st.lists(st.one_of(PLACE, CALL), max_size=60))
def test_the_counters_are_those_of_a_plain_count(steps: list[tuple[str, str, str | None]]) -> None:
    tree = Tree()
    calls = dict.fromkeys(NAMES, 0)
    for what, id, parent in steps:
        run = tree.find(id)
        if what == "place":
            tree.place(id, parent, 0.0)
        elif run is not None and what == "begin":
            run.begin()
            calls[id] += 1
        elif run is not None and calls[id]:
            run.end()
            calls[id] -= 1
    for id in NAMES:
        run = tree.find(id)
        if run is None:
            continue
        busy = {child.id for child in run.children.values() if any(calls[each.id] for each in child.tree())}
        assert (run.calls, run.branches) == (calls[id], len(busy))
        assert len(run.lineage) == len(set(run.lineage)) <= LEVELS_MAX
        assert run.lineage[-1] is run
        assert run.parent is None or run.parent.children[id] is run
