"""Runs as people see them: the ledger's sums, and beside them what is live."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.limits import Limit, LimitsByName
from policies.runs import NO_LIMITS
from proxy.errors import ProxyError
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


async def test_a_plain_name_finds_the_run_of_the_one_tenant_that_has_it(tmp_path: Path) -> None:
    at = desk(tmp_path, outcome(call("1", run="old", team="red")), outcome(call("2", run="low", parent="above")))
    begin(at, "new")
    await at.runs.apply(RunCommand("kill", "team:blue/marked", "1", "me", 0.0))
    found = [await at.views.find(name) for name in ("old", "above", "new", "marked", "a/b")]
    assert found == ["team:red/old", "key:k/above", "key:k/new", "team:blue/marked", None]
    begin(at, "a/b")
    begin(at, "b")
    assert [await at.views.find(name) for name in ("a/b", "b")] == ["key:k/a/b", "key:k/b"], "a name may hold a slash"


@pytest.mark.parametrize("where", ["ledger", "flight"])
async def test_a_name_that_several_tenants_have_is_nobodys_until_one_is_named(where: str, tmp_path: Path) -> None:
    at = desk(tmp_path, outcome(call("1", run="r", team="red")), *[outcome(call("2", run="r"))][: where == "ledger"])
    if where == "flight":
        begin(at, "r")
    with pytest.raises(ProxyError, match="key:k, team:red") as caught:
        await at.views.find("r")
    assert (caught.value.status, caught.value.code, caught.value.details) == (409, "invalid_request", {})
    assert await at.views.find("r", "team:red") == "team:red/r"
    assert await at.views.find("r", "team:unseen") == "team:unseen/r"
    with pytest.raises(ProxyError, match="`team:NAME`"):
        await at.views.find("r", "red")


async def test_of_many_tenants_some_are_named_and_the_others_counted(tmp_path: Path) -> None:
    at = desk(tmp_path, *[outcome(call(str(number), run="r", team=f"t{number:02}")) for number in range(12)])
    with pytest.raises(ProxyError, match="team:t08, team:t09 and 2 more"):
        await at.views.find("r")


async def test_two_tenants_runs_of_one_name_are_shown_apart(tmp_path: Path) -> None:
    at = desk(tmp_path, outcome(call("1", run="r", team="red")), outcome(call("2", run="child", parent="r")))
    begin(at, "r")
    rows = (await at.views.runs(10)).rows
    assert [(row.run, row.tenant, row.in_flight) for row in rows] == [
        ("r", "key:k", 1),
        ("child", "key:k", 0),
        ("r", "team:red", 0),
    ]
    mine, theirs = await at.views.run("key:k/r"), await at.views.run("team:red/r")
    assert mine is not None and theirs is not None
    assert ([child.run.run for child in mine.children], mine.run.in_flight) == (["child"], 1)
    assert (theirs.children, theirs.run.in_flight) == ([], 0)
