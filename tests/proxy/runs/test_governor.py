"""Commands are carried out once, stand in the ledger before they are answered, and survive a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec import json, structs

from policies.limits import Limit, LimitsByName
from proxy.errors import ProxyError
from proxy.runs.registry import Kind, RunCommand
from proxy.state.events import TopUp
from proxy.state.ledger import Ledger
from proxy.types import Identity
from tests.proxy.desk import Desk
from tests.proxy.state.samples import call, outcome

LIMITED = LimitsByName({"run:key:k/r": (Limit("usd", 1_000), Limit("tokens", 50))})


def desk(folder: Path) -> Desk:
    return Desk(Ledger.open(folder / "ledger.db"), LIMITED)


def order(kind: Kind, run: str = "r", id: str = "one") -> RunCommand:
    return RunCommand(kind, f"key:k/{run}", id, "me", 5.0)


def top_up(amount: int, id: str = "one", account: str = "run:key:k/r") -> RunCommand:
    return RunCommand("topup", account, id, "me", 5.0, unit="usd", amount=amount)


def place(at: Desk, run: str, parent: str | None = None) -> None:
    at.runs.of(Identity(key_id="k", agent="a", run=run, parent_run=parent))


async def refused(at: Desk, command: RunCommand, *, unseen: bool = False) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        await at.governor.govern(command, unseen=unseen)
    return caught.value


async def test_a_command_is_answered_once_it_stands_in_the_ledger(tmp_path: Path) -> None:
    at = desk(tmp_path)
    place(at, "r")
    done = await at.governor.govern(order("kill"))
    assert (done.run, done.tenant, done.state, done.repeated) == ("r", "key:k", "killed", False)
    assert at.ledger.waiting == 0
    ((kind, subject, body),) = at.ledger.read_now(
        lambda connection: connection.execute("SELECT kind, subject, body FROM event").fetchall()
    )
    assert (kind, subject) == ("run", "key:k/r")
    assert json.decode(body) == {"kind": "kill", "run": "key:k/r", "id": "one", "by": "me", "at_wall": 5.0}


async def test_a_kill_that_was_carried_out_is_told_of_the_run_and_of_all_below_it_and_a_pause_is_not(
    tmp_path: Path,
) -> None:
    at = desk(tmp_path)
    place(at, "r")
    place(at, "child", "r")
    place(at, "grandchild", "child")
    place(at, "other")
    await at.governor.govern(order("pause"))
    assert at.over == []
    await at.governor.govern(order("kill", id="two"))
    await at.governor.govern(order("kill", "nobody", id="three"), unseen=True)
    assert at.over == [{"key:k/r", "key:k/child", "key:k/grandchild"}, {"key:k/nobody"}]


async def test_a_run_that_was_never_seen_is_refused_unless_that_is_meant(tmp_path: Path) -> None:
    at = desk(tmp_path)
    assert (await refused(at, order("kill"))).code == "unknown_path"
    assert (await at.governor.govern(order("kill"), unseen=True)).state == "killed"


async def test_a_run_that_only_the_ledger_knows_is_known(tmp_path: Path) -> None:
    at = desk(tmp_path)
    at.ledger.append(outcome(call(run="r")))
    assert (await at.governor.govern(order("pause"))).state == "paused"


async def test_a_repeat_does_nothing_and_says_so(tmp_path: Path) -> None:
    at = desk(tmp_path)
    place(at, "r")
    await at.governor.govern(order("pause", id="p"))
    await at.governor.govern(order("resume", id="r"))
    again = await at.governor.govern(structs.replace(order("pause", id="p"), by="someone else", at_wall=9.0))
    assert again.repeated
    assert at.runs.state("key:k/r").state == "idle"


async def test_a_repeat_that_comes_at_once_waits_for_the_first(tmp_path: Path) -> None:
    at = desk(tmp_path)
    place(at, "r")
    both = await asyncio.gather(*(at.governor.govern(order("kill")) for _ in range(2)))
    assert sorted(done.repeated for done in both) == [False, True]
    assert at.ledger.appended_seq == 1


@pytest.mark.parametrize("other", [order("pause"), order("kill", run="s"), top_up(5)])
async def test_an_id_belongs_to_one_command(tmp_path: Path, other: RunCommand) -> None:
    at = desk(tmp_path)
    place(at, "r")
    place(at, "s")
    await at.governor.govern(order("kill"))
    with pytest.raises(ProxyError) as caught:
        await (at.governor.top_up(other) if other.kind == "topup" else at.governor.govern(other))
    assert (caught.value.code, caught.value.status) == ("invalid_request", 422)


@pytest.mark.parametrize("kind", ["pause", "resume"])
async def test_killed_is_final(tmp_path: Path, kind: Kind) -> None:
    at = desk(tmp_path)
    place(at, "r")
    await at.governor.govern(order("kill"))
    error = await refused(at, order(kind, id="two"))
    assert (error.code, error.status) == ("run_killed", 409)
    assert (await at.governor.govern(order("kill", id="three"))).state == "killed"


async def test_a_command_that_failed_can_be_repeated(tmp_path: Path) -> None:
    at = desk(tmp_path)
    place(at, "r")
    at.ledger.failed = 1
    assert (await refused(at, order("kill"))).code == "ledger_unavailable"
    at.ledger.failed = 0
    assert not (await at.governor.govern(order("kill"))).repeated


# --- top-ups ---------------------------------------------------------------------------------------------------------


async def test_a_top_up_raises_the_limits_of_its_unit_once(tmp_path: Path) -> None:
    at = desk(tmp_path)
    first, again = await at.governor.top_up(top_up(500)), await at.governor.top_up(top_up(500))
    assert [(limit.limit, limit.left) for limit in first.limits] == [(1_500, 1_500)]
    assert (first.repeated, again.repeated) == (False, True)
    assert first.limits == again.limits
    assert {each.period.unit: each.limit for each in at.budgets.standing("run:key:k/r")} == {"usd": 1_500, "tokens": 50}


async def test_the_ledger_has_what_a_top_up_adds_to_balances(tmp_path: Path) -> None:
    at = desk(tmp_path)
    await at.governor.top_up(top_up(500))
    await at.governor.top_up(top_up(300, id="two"))
    (subject, body), (_, more) = at.ledger.read_now(
        lambda connection: connection.execute("SELECT subject, body FROM event WHERE kind = 'topup'").fetchall()
    )
    made = json.decode(body, type=TopUp)
    (change,) = made.changes
    assert (subject, made.id, made.amount, made.by) == ("run:key:k/r", "one", 500, "me")
    assert (change.account, change.unit, change.granted, change.spent) == ("run:key:k/r", "usd", 500, 0)
    assert [change.granted for change in json.decode(more, type=TopUp).changes] == [300]


async def test_where_nothing_is_limited_there_is_nothing_to_top_up(tmp_path: Path) -> None:
    at = desk(tmp_path)
    with pytest.raises(ProxyError) as caught:
        await at.governor.top_up(top_up(500, account="agent:nobody"))
    assert caught.value.status == 409
    assert at.ledger.appended_seq == 0


# --- restarts --------------------------------------------------------------------------------------------------------


async def test_killed_and_paused_survive_a_restart_and_so_do_ids(tmp_path: Path) -> None:
    at = desk(tmp_path)
    for id in ("k", "p", "r"):
        place(at, id)
    await at.governor.govern(order("kill", "k", "1"))
    await at.governor.govern(order("pause", "p", "2"))
    await at.governor.govern(order("pause", "r", "3"))
    await at.governor.govern(order("resume", "r", "4"))
    await at.governor.top_up(top_up(500, id="5"))
    at.ledger.close()
    later = desk(tmp_path)
    assert [later.runs.state(f"key:k/{id}").state for id in ("k", "p", "r")] == ["killed", "paused", "idle"]
    assert (await later.governor.govern(order("kill", "k", "1"))).repeated
    assert (await later.governor.top_up(top_up(500, id="5"))).repeated
    assert [each.limit for each in later.budgets.standing("run:key:k/r") if each.period.unit == "usd"] == [1_000]
    assert later.ledger.appended_seq == 5  # nothing was written again


async def test_a_killed_run_and_those_below_it_are_not_topped_up(tmp_path: Path) -> None:
    at = desk(tmp_path)
    place(at, "r", parent="above")
    first = await at.governor.top_up(top_up(500, "before"))
    await at.governor.govern(order("kill", run="above"), unseen=True)
    with pytest.raises(ProxyError, match="final") as caught:
        await at.governor.top_up(top_up(500, "after"))
    assert (caught.value.code, caught.value.status) == ("run_killed", 409)
    again = await at.governor.top_up(top_up(500, "before"))
    assert (again.repeated, again.limits) == (True, first.limits)


async def test_one_tenants_run_is_killed_and_anothers_of_that_name_is_not(tmp_path: Path) -> None:
    at = desk(tmp_path)
    place(at, "r")
    at.runs.of(Identity(key_id="k", agent="a", team="red", run="r"))
    done = await at.governor.govern(order("kill"))
    assert (done.run, done.tenant) == ("r", "key:k")
    assert at.runs.state("team:red/r").state == "idle"
    assert at.over == [{"key:k/r"}]


async def test_a_command_of_before_runs_had_tenants_holds_for_all_who_had_that_name(tmp_path: Path) -> None:
    at = desk(tmp_path)
    for team in (None, "red"):
        at.ledger.append(outcome(call(run="r", team=team)))
    at.ledger.append_event("run", "r", RunCommand("kill", "r", "old", "me", 5.0))
    at.ledger.append_event("run", "gone", RunCommand("kill", "gone", "older", "me", 5.0))
    await at.ledger.flush()
    at.ledger.close()
    later = desk(tmp_path)
    assert sorted(later.runs.marks) == [("key:k/r", "killed"), ("team:red/r", "killed")]
