"""`headgate runs`: what is typed becomes one question or command, and wrong usage is said before anything is asked."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from policies.limits import Limit, LimitsByName
from proxy.cli import runs
from proxy.state.ledger import Ledger
from proxy.types import Outcome
from tests.proxy.admin import listening
from tests.proxy.desk import Desk
from tests.proxy.state.samples import attempt, call, outcome

LIMITED = LimitsByName({"run:key:k/top": (Limit("usd", 2_000_000_000),)})
TREE = (
    outcome(call("plan", run="top"), duration_s=1.0),
    outcome(call("slow", run="child", parent="top", at_s=1.0), attempt(cost=123_000), duration_s=4.0),
    outcome(call("aside", run="child", parent="top", at_s=1.5), duration_s=1.0),
)


class Gate(Desk):
    def __init__(self, folder: Path, *done: Outcome) -> None:
        super().__init__(Ledger.open(folder / "ledger.db"), LIMITED)
        for one in done:
            self.ledger.append(one)

    async def run(self, *typed: str) -> int:
        async with listening(self.guard()) as address:
            return await run("--admin", address, *typed)


async def run(*typed: str) -> int:
    parser = argparse.ArgumentParser()
    runs.register(parser.add_subparsers(dest="command"))
    chosen = parser.parse_args(["runs", *typed])
    return await asyncio.get_running_loop().run_in_executor(None, runs.runs, chosen)


async def test_runs_are_listed_latest_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await Gate(tmp_path, *TREE).run("--agent", "a") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["run", "child", "top"]


@pytest.mark.parametrize("typed", [("top",), ("show", "top")])
async def test_a_run_is_a_tree_with_cost_critical_path_and_longest_step(
    typed: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await Gate(tmp_path, *TREE).run(*typed) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "run top (a): idle, 1 call, $0.000125"
    assert lines[1] == "  usd per total (run:top): $0.00 of $2.0000 spent, $0.00 held, $2.0000 left"
    assert "    run child (a): idle, 2 calls, $0.000124" in lines
    starred = [line.split()[-1] for line in lines if line.lstrip().startswith("* ") and "request" not in line]
    assert starred == ["plan", "slow"]
    assert lines[-4:] == [
        "cost           $0.000125",
        "wall time      5.00s",
        "critical path  5.00s in 2 calls, one after the other, 100% of the wall time",
        "longest step   4.00s, smart, request slow",
    ]


async def test_a_run_is_killed_paused_and_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = Gate(tmp_path, *TREE)
    assert [await gate.run(*typed) for typed in (("pause", "top", "--cancel"), ("resume", "top"), ("kill", "top"))] == [
        0,
        0,
        0,
    ]
    assert capsys.readouterr().out.splitlines() == ["run top is paused", "run top is idle", "run top is killed"]
    assert await gate.run("resume", "top") == 1
    assert "final" in capsys.readouterr().err


async def test_a_command_with_an_id_is_carried_out_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = Gate(tmp_path, *TREE)
    for _ in range(2):
        assert await gate.run("topup", "top", "--usd", "0.50", "--id", "mine") == 0
    assert capsys.readouterr().out.splitlines() == [
        "run:top: $0.500000 more",
        "usd per total: $2.5000 of $2.5000 left",
        "run:top: $0.500000 was added already",
        "usd per total: $2.5000 of $2.5000 left",
    ]


async def test_a_run_that_was_never_seen_is_only_killed_when_that_is_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = Gate(tmp_path)
    assert await gate.run("kill", "later") == 1
    assert "no run of this name" in capsys.readouterr().err
    assert await gate.run("kill", "later", "--unseen", "--tenant", "key:k") == 0
    assert await gate.run("unknown/run") == 1


async def test_a_name_that_begins_with_a_dash_stands_behind_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = Gate(tmp_path, outcome(call("one", run="-x")))
    for typed in (
        ("--", "-x"),
        ("show", "--", "-x"),
        ("pause", "--cancel", "--", "-x"),
        ("--", "resume", "-x"),
        ("kill", "--tenant", "key:k", "--", "-x"),
    ):
        assert await gate.run(*typed) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("run -x")]
    assert said == [
        *["run -x (a): idle, 1 call, $0.000001"] * 2,
        *[f"run -x is {how}" for how in ("paused", "idle", "killed")],
    ]


async def test_options_may_stand_between_the_action_and_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await Gate(tmp_path, *TREE).run("kill", "--tenant", "key:k", "top") == 0
    assert capsys.readouterr().out == "run top is killed\n"


async def test_json_is_the_answer_as_it_came(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await Gate(tmp_path, *TREE).run("kill", "top", "--json") == 0
    assert json.loads(capsys.readouterr().out)["state"] == "killed"


WRONG = [
    (("kill",), "which run?"),
    (("stop", "top"), "is no action"),
    (("kill", "top", "--cancel"), "--cancel means nothing to `kill`"),
    (("top", "--usd", "1"), "--usd means nothing to `show`"),
    (("topup", "top"), "how much?"),
    (("topup", "top", "--usd", "1", "--tokens", "5"), "how much?"),
    (("topup", "top", "--tokens", "many"), "whole number"),
    (("topup", "top", "--usd", "abc"), "--usd wants an amount such as 0.50, not 'abc'"),
]


@pytest.mark.parametrize(("typed", "words"), WRONG)
async def test_wrong_usage_is_told_before_anything_is_asked(
    typed: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(*typed, "--admin", "http://127.0.0.1:1") == 2
    assert words in capsys.readouterr().err


async def test_an_amount_that_is_none_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await Gate(tmp_path, *TREE).run("topup", "top", "--usd", "-1") == 2
    assert "above 0" in capsys.readouterr().err


def test_the_command_starts_without_the_server_it_asks() -> None:
    heavy = ("httptools", "asyncio", "sqlite3")
    script = f"import sys, proxy.cli.runs; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


async def test_where_two_tenants_have_a_run_of_one_name_one_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = Gate(tmp_path, *TREE, outcome(call("theirs", run="top", team="red")))
    assert await gate.run("kill", "top") == 1
    assert "key:k, team:red" in capsys.readouterr().err
    assert await gate.run("kill", "top", "--tenant", "team:red") == 0
    assert await gate.run("top", "--tenant", "key:k") == 0
    assert "run top (a): idle, 1 call, $0.000125" in capsys.readouterr().out
    assert await gate.run() == 0
    rows = [line.split()[:4] for line in capsys.readouterr().out.splitlines()]
    assert sorted(rows[1:]) == [
        ["child", "key:k", "a", "idle"],
        ["top", "key:k", "a", "idle"],
        ["top", "team:red", "a", "killed"],
    ]
