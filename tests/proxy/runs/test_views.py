"""Runs as people see them: the ledger's sums, and beside them what is live."""

from __future__ import annotations

from pathlib import Path

from policies.limits import Limit, LimitsByName
from policies.runs import NO_LIMITS
from proxy.execution.purse import Purse
from proxy.execution.record import Record
from proxy.execution.running import Running
from proxy.runs.registry import RunCommand
from proxy.state.ledger import Ledger
from proxy.state.run_report import LimitRow
from proxy.types import Amounts, Identity, Outcome
from tests import build
from tests.proxy.desk import Desk
from tests.proxy.state.samples import call, outcome

PER_RUN = LimitsByName({"agent:a": (Limit("usd", 1_000, "run"),)})


def desk(folder: Path, *done: Outcome) -> Desk:
    ledger = Ledger.open(folder / "ledger.db")
    for one in done:
        ledger.append(one)
    return Desk(ledger, PER_RUN)


def begin(at: Desk, run: str, parent: str | None = None) -> Running:
    who = Identity(key_id="k", agent="a", run=run, parent_run=parent)
    running = Running(Record(build.call(identity=who), Purse(at.budgets, "c", (), 60.0)), at.runs.of(who))
    assert at.runs.admit(running, NO_LIMITS) is None
    return running


async def test_a_run_shows_its_state_its_calls_in_flight_and_its_sums(tmp_path: Path) -> None:
    at = desk(tmp_path, outcome(call("1", run="r")))
    begin(at, "r")
    (row,) = (await at.views.runs(10)).rows
    assert (row.run, row.state, row.in_flight, row.summary.calls) == ("r", "running", 1, 1)
    tree = await at.views.run("key:k/r")
    assert tree is not None
    assert (tree.run.state, tree.run.in_flight, tree.total_usd_nanos) == ("running", 1, 1_000)


async def test_a_run_counts_as_seen_from_its_first_call_on(tmp_path: Path) -> None:
    at = desk(tmp_path, outcome(call("1", run="old")))
    begin(at, "new")
    assert [await at.views.seen(f"key:k/{run}") for run in ("old", "new", "other")] == [True, True, False]


async def test_a_run_whose_first_call_is_in_flight_is_there(tmp_path: Path) -> None:
    at = desk(tmp_path, outcome(call("1", run="old")))
    begin(at, "new", "old")
    page = await at.views.runs(10)
    assert [(row.run, row.parent, row.agents, row.summary.calls) for row in page.rows] == [
        ("new", "old", ["a"], 0),
        ("old", None, ["a"], 1),
    ]
    assert [row.run for row in (await at.views.runs(10, agent="b")).rows] == []
    assert [row.run for row in (await at.views.runs(10, before=99)).rows] == ["old"]  # of the first page only
    tree = await at.views.run("key:k/old")
    assert tree is not None
    assert [(child.run.run, child.run.in_flight) for child in tree.children] == [("new", 1)]
    alone = await at.views.run("key:k/new")
    assert alone is not None
    assert (alone.run.parent, alone.run.in_flight) == ("old", 1)


async def test_what_stops_a_run_is_shown_at_every_run_below(tmp_path: Path) -> None:
    at = desk(tmp_path, outcome(call("1", run="top")), outcome(call("2", run="low", parent="top")))
    await at.runs.apply(RunCommand("pause", "key:k/top", "1", "me", 0.0))
    begun = at.runs.of(Identity(key_id="k", agent="a", run="low", parent_run="top"))
    assert begun is not None
    tree = await at.views.run("key:k/top")
    assert tree is not None
    (child,) = tree.children
    assert (tree.run.state, tree.run.stopped_by) == ("paused", None)
    assert (child.run.state, child.run.stopped_by) == ("paused", "top")


async def test_a_run_shows_what_it_may_still_spend(tmp_path: Path) -> None:
    at = desk(tmp_path, outcome(call("1", run="r")))
    path = ("key:k", "agent:a", "run:key:k/r")
    await at.budgets.reserve("c", path, lambda *left: Amounts(usd_nanos=300), ttl_s=60.0)
    tree = await at.views.run("key:k/r")
    assert tree is not None
    assert tree.budget == [
        LimitRow(unit="usd", window="run", carrier="agent:a", limit=1_000, spent=0, held=300, left=700)
    ]


async def test_an_unknown_run_is_none_and_a_killed_one_is_not_unknown(tmp_path: Path) -> None:
    at = desk(tmp_path)
    assert await at.views.run("key:k/r") is None
    assert not await at.views.seen("key:k/r")
    await at.runs.apply(RunCommand("kill", "key:k/r", "1", "me", 0.0))
    tree = await at.views.run("key:k/r")
    assert tree is not None
    assert (tree.run.state, tree.calls) == ("killed", [])
