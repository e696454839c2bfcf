"""Questions about runs: sums are of all calls, lists are bounded, and no tree goes in a circle."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from proxy.runs.registry import RunCommand
from proxy.state import run_queries
from proxy.state.ledger import Ledger
from proxy.state.run_queries import RunReports
from proxy.types import Outcome
from tests.proxy.state.samples import attempt, call, outcome


def reports(folder: Path, *done: Outcome) -> RunReports:
    return RunReports(ledger(folder, *done))


def ledger(folder: Path, *done: Outcome) -> Ledger:
    made = Ledger.open(folder / "ledger.db")
    for one in done:
        made.append(one)
    return made


async def test_runs_come_latest_first_in_pages_that_neither_skip_nor_repeat(tmp_path: Path) -> None:
    order = ["r1", "r2", "r1", "r3", "r4", "r2", "r5"]
    asked = reports(tmp_path, *(outcome(call(str(n), run=name, at_s=n)) for n, name in enumerate(order)), outcome())
    pages: list[list[str]] = []
    before: int | None = None
    while True:
        page = await asked.runs(2, before=before)
        pages.append([row.run for row in page.rows])
        if page.before is None:
            break
        before = page.before
    assert pages == [["r5", "r2"], ["r4", "r3"], ["r1"]]


async def test_a_run_in_the_list_sums_all_its_calls(tmp_path: Path) -> None:
    done = [
        outcome(call("1", run="r", parent="p")),
        outcome(call("2", run="r", at_s=60.5, agent="b"), attempt(cost=None)),
    ]
    (row,) = (await reports(tmp_path, *done).runs(10)).rows
    assert (row.run, row.parent, row.agents) == ("r", "p", ["a", "b"])
    summary = row.summary
    assert (summary.calls, summary.wall_s, summary.cost_usd_nanos, summary.unpriced_calls) == (2, 62.5, 1_000, 1)
    assert (summary.first_at, summary.last_at) == ("2023-11-14T22:13:20.000Z", "2023-11-14T22:14:22.500Z")


async def test_runs_of_one_agent_hold_only_its_own_calls(tmp_path: Path) -> None:
    done = [outcome(call("1", run="shared", agent="a")), outcome(call("2", run="shared", agent="b"))]
    page = await reports(tmp_path, *done, outcome(call("3", run="other", agent="b"))).runs(10, agent="a")
    assert [(row.run, row.agents, row.summary.calls) for row in page.rows] == [("shared", ["a"], 1)]


async def test_a_run_is_a_tree_with_the_cost_of_its_children(tmp_path: Path) -> None:
    done = [
        outcome(call("plan", run="top"), duration_s=1.0),
        outcome(call("left", run="l", parent="top", at_s=1.0), duration_s=2.0),
        outcome(call("right", run="r", parent="top", at_s=1.0), duration_s=4.0),
        outcome(call("deep", run="rr", parent="r", at_s=5.0), attempt(cost=7), duration_s=1.0),
        outcome(call("sum", run="top", at_s=6.0), duration_s=1.0),
    ]
    tree = await reports(tmp_path, *done).run(("top", "key:k"))
    assert tree is not None
    assert [child.run.run for child in tree.children] == ["l", "r"]
    assert [child.run.run for child in tree.children[1].children] == ["rr"]
    assert (tree.run.summary.cost_usd_nanos, tree.total_usd_nanos) == (2_000, 4_007)
    assert [one.request_id for one in tree.calls] == ["plan", "sum"]
    assert (tree.critical_path.seconds, tree.critical_path.request_ids) == (7.0, ["plan", "right", "deep", "sum"])
    assert tree.longest_step is not None and tree.longest_step.request_id == "right"
    assert not tree.truncated


async def test_a_run_known_only_as_a_parent_is_found_and_an_unknown_one_is_not(tmp_path: Path) -> None:
    asked = reports(tmp_path, outcome(call(run="child", parent="silent")))
    tree = await asked.run(("silent", "key:k"))
    assert tree is not None and [child.run.run for child in tree.children] == ["child"]
    assert await asked.run(("nobody", "key:k")) is None


async def test_runs_that_name_each_other_as_parents_do_not_go_in_circles(tmp_path: Path) -> None:
    asked = reports(
        tmp_path,
        outcome(call(run="x", parent="y")),
        outcome(call(run="y", parent="x")),
        outcome(call(run="x", parent="x")),
    )
    tree = await asked.run(("x", "key:k"))
    assert tree is not None and [child.run.run for child in tree.children] == ["y"]
    assert tree.children[0].children == []
    assert tree.truncated


def chain() -> Iterator[Outcome]:
    for depth in range(20):
        yield outcome(call(run=str(depth), parent=str(depth - 1) if depth else None))


async def test_a_tree_is_cut_where_no_run_may_be(tmp_path: Path) -> None:
    tree = await reports(tmp_path, *chain()).run(("0", "key:k"))
    depth = 0
    while tree is not None and tree.children:
        assert tree.truncated
        tree, depth = tree.children[0], depth + 1
    assert depth == 8


async def test_a_run_of_ten_thousand_calls_has_exact_sums_and_a_bounded_list(tmp_path: Path) -> None:
    many = 10_000
    done = (outcome(call(str(n), run="r", at_s=n), attempt(cost=3), duration_s=0.5) for n in range(many))
    tree = await reports(tmp_path, *done).run(("r", "key:k"))
    assert tree is not None
    assert (tree.run.summary.calls, tree.total_usd_nanos, tree.wall_s) == (many, 3 * many, many - 0.5)
    assert (tree.critical_path.calls, tree.critical_path.seconds) == (many, many / 2)
    assert len(tree.critical_path.request_ids) == 1_000
    assert [tree.calls[0].request_id, tree.calls[-1].request_id] == ["9500", "9999"]
    assert tree.truncated


async def test_the_critical_path_says_its_share_of_the_wall_time(tmp_path: Path) -> None:
    done = [outcome(call("a", run="r"), duration_s=1.0), outcome(call("b", run="r", at_s=3.0), duration_s=1.0)]
    tree = await reports(tmp_path, *done).run(("r", "key:k"))
    assert tree is not None
    assert (tree.wall_s, tree.critical_path.share) == (4.0, 0.5)


async def test_runs_that_the_ledger_knows_are_told_from_others(tmp_path: Path) -> None:
    assert await reports(tmp_path, outcome(call(run="r"))).known([("r", "key:k"), ("s", "key:k"), ("r", "key:j")]) == {
        ("r", "key:k")
    }


async def test_commands_are_read_back_in_their_order(tmp_path: Path) -> None:
    kept = ledger(tmp_path)
    for number, kind in enumerate(("pause", "resume", "kill")):
        kept.append_event("run", "r", RunCommand(kind, "r", str(number), "me", 1.0))  # type: ignore[arg-type]
    kept.append_event("limit", "agent:a", {"percent": 80})
    await kept.flush()
    found = kept.read_now(run_queries.commands)
    assert [(kind, subject) for kind, subject, _ in found] == [("run", "r")] * 3
    assert ['"kind":"kill"' in body for _, _, body in found] == [False, False, True]


async def test_what_ran_lately_is_read_back_with_its_parent_and_its_times(tmp_path: Path) -> None:
    done = [
        outcome(call("1", run="old"), duration_s=1.0),
        outcome(call("2", run="new", parent="old", at_s=100.0), duration_s=1.0),
        outcome(call("3", run="new", at_s=110.0), duration_s=1.0),
        outcome(call("4"), duration_s=1.0),
    ]
    kept = ledger(tmp_path, *done)
    await kept.flush()
    begin = 1_700_000_000_000

    def since(at_ms: int) -> list[tuple[str, str, str | None, int, int]]:
        def ask(connection: sqlite3.Connection) -> list[tuple[str, str, str | None, int, int]]:
            return run_queries.lately(connection, at_ms)

        return kept.read_now(ask)

    new = ("key:k", "new", "old", begin + 100_000, begin + 111_000)
    assert since(begin) == [("key:k", "old", None, begin, begin + 1_000), new]
    assert since(begin + 50_000) == [new]


TWO = (
    outcome(call("1", run="r"), duration_s=1.0),
    outcome(call("2", run="r", team="red", at_s=1.0), attempt(cost=7)),
    outcome(call("3", run="child", parent="r", team="red", at_s=2.0), attempt(cost=70)),
    outcome(call("4", run="r", at_s=3.0), duration_s=1.0),
)


async def test_runs_of_two_tenants_with_one_name_are_two_rows_and_two_trees(tmp_path: Path) -> None:
    asked = reports(tmp_path, *TWO)
    for agent in (None, "a"):
        rows = (await asked.runs(10, agent=agent)).rows
        assert [(row.run, row.tenant, row.summary.calls, row.summary.cost_usd_nanos) for row in rows] == [
            ("r", "key:k", 2, 2_000),
            ("child", "team:red", 1, 70),
            ("r", "team:red", 1, 7),
        ]
    mine, theirs = await asked.run(("r", "key:k")), await asked.run(("r", "team:red"))
    assert mine is not None and theirs is not None
    assert (mine.total_usd_nanos, mine.children, [each.request_id for each in mine.calls]) == (2_000, [], ["1", "4"])
    assert (theirs.total_usd_nanos, [child.run.tenant for child in theirs.children]) == (77, ["team:red"])
    assert theirs.longest_step is not None and theirs.longest_step.request_id == "2"
    assert (theirs.critical_path.calls, mine.critical_path.calls) == (1, 2)
    assert await asked.run(("child", "key:k")) is None


async def test_a_name_has_the_owners_that_named_it_as_a_run_or_as_a_parent(tmp_path: Path) -> None:
    asked = reports(tmp_path, *TWO, outcome(call("5", run="low", parent="silent", team="blue")))
    assert await asked.owners("r") == ["key:k", "team:red"]
    assert await asked.owners("silent") == ["team:blue"]
    assert await asked.owners("nobody") == []


async def test_what_ran_lately_is_told_apart_by_its_tenant(tmp_path: Path) -> None:
    kept = ledger(tmp_path, *TWO)
    await kept.flush()
    found = kept.read_now(lambda connection: run_queries.lately(connection, 0))
    assert {(owner, run, parent) for owner, run, parent, _, _ in found} == {
        ("team:red", "r", None),
        ("team:red", "child", "r"),
        ("key:k", "r", None),
    }
