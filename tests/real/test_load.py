"""The load kit with real Locust users against a real gate: a little of everything, and nobody may notice the gate."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.real import environments
from tests.real.processes import REPOSITORY

pytestmark = pytest.mark.real


@pytest.mark.parametrize("scenario", ["smoke", "outage", "budget"])
def test_a_scenario_passes(scenario: str) -> None:
    locust = environments.python("load").parent / "locust"
    seconds = "24" if scenario == "outage" else "12"  # one call in a hundred: few may be under way when it comes
    command = [sys.executable, "loadtests/load.py", scenario, "--seconds", seconds, "--locust", str(locust)]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=180, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("  ok ") >= 2
