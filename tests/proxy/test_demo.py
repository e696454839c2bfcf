"""`headgate demo` as people and programs start it."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli.main import COMMANDS
from proxy.demo import demo, register

ROOT = Path(__file__).parents[2]


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers(dest="command"))
    return parser.parse_args(["demo", *arguments])


def started(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "proxy", "demo", *arguments]
    environment = {**os.environ, "NO_COLOR": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_nothing_is_needed_and_everything_can_be_said() -> None:
    bare = parsed()
    assert (bare.seconds, bare.seed, bare.json) == (60.0, 1, False)
    given = parsed("--seconds", "7.5", "--seed", "3", "--json", "--no-browser")
    assert (given.seconds, given.seed, given.json) == (7.5, 3, True)


@pytest.mark.parametrize("seconds", ["4", "0", "-1", "nan", "inf", "x", "3601"])
def test_a_story_needs_its_time(seconds: str) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed("--seconds", seconds)
    assert ended.value.code == 2


def test_the_command_line_knows_where_it_is() -> None:
    (command,) = [command for command in COMMANDS if command.name == "demo"]
    assert (command.module, command.function) == (demo.__module__, demo.__name__)


def test_its_help_loads_no_server() -> None:
    code = (
        "import sys; from proxy.cli.main import main\n"
        "try: main(['demo', '--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('httptools', 'uvloop', 'sqlite3') if name in sys.modules], file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stderr == "[]\n"
    assert "SIMULATED" in ran.stdout


@pytest.mark.slow
def test_as_json_it_has_both_columns_and_a_ledger_that_equals_the_bill() -> None:
    process = started("--seconds", "6", "--seed", "1", "--json")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    said = json.loads(out)
    assert (said["simulated"], said["seed"], said["seconds"], said["interrupted"]) == (True, 1, 6.0, False)
    direct, gate, check = said["direct"], said["gate"], said["check"]
    assert direct["runs"] == gate["runs"] > 8
    reported = check["reported"]
    assert reported["ledger_usd_nanos"] == reported["bill_usd_nanos"] > 0
    assert reported["bill_usd_nanos"] + check["estimated"]["bill_usd_nanos"] == gate["usd_nanos_total"]
    assert gate["calls_failed"] < direct["calls_failed"]
    assert gate["runs_failed"] < direct["runs_failed"]
    assert len(said["agents"]) == 8 + 1  # the runaway
    assert gate["outage_success_share"] > 0.95 > direct["outage_success_share"]
    assert said["overspend_usd_nanos"] == 0
    assert any("provider east is down" in event["text"] for event in said["events"])
    assert [phase["phase"] for phase in gate["phases"]] == ["normal", "slow", "down", "healed"]
    assert said["hedges"]["sent"] >= said["hedges"]["won"]


@pytest.mark.slow
def test_ctrl_c_ends_it_with_the_table_so_far() -> None:
    process = started("--seconds", "60")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("SIMULATED   0.0 s  no keys used")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "ended early" in out
    assert "through the gate" in out
    assert "(difference 0 nano-dollars)" in out
    assert out.rstrip().endswith("headgate up")
