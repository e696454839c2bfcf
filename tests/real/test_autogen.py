"""An AutoGen chat of two agents runs through the gate and shows up with its cost."""

from __future__ import annotations

import pytest

from tests.real.conftest import OnStage, Stage, Upstream
from tests.real.gate import API_KEY, Gate, cost_usd_nanos
from tests.real.processes import REPOSITORY, run_script

pytestmark = pytest.mark.real

TURNS = 4


@pytest.fixture(scope="module")
def team(on_stage: OnStage) -> Stage:
    return on_stage("clients", "autogen_team")


@pytest.mark.parametrize("scenario", ["chat", "chat_stream"])
def test_two_agents_talk_and_are_billed_to_their_run(
    team: Stage, upstream: Upstream, gate: Gate, scenario: str
) -> None:
    told = team.same(scenario, gate.base_url(f"brochure-{scenario}", f"team-{scenario}"))
    assert [source for source, _ in told["said"]] == ["user", "writer", "critic", "writer", "critic"]
    bill = upstream.bill()["chat"]
    cost = cost_usd_nanos(bill)
    run = gate.run(f"team-{scenario}", calls=TURNS)
    assert (run["calls"], run["cost_usd_nanos"], run["errors"]) == (TURNS, cost, 0)
    spend = gate.spend("agent", f"brochure-{scenario}")
    assert (spend["cost_usd_nanos"], spend["estimated_usd_nanos"]) == (cost, 0)
    (row,) = (row for row in gate.command("spend", "--by", "run")["rows"] if row["key"] == f"team-{scenario}")
    assert (row["calls"], row["cost_usd_nanos"]) == (TURNS, cost)


def test_a_streamed_chat_arrives_in_pieces(team: Stage, gate: Gate) -> None:
    told = team.same("chat_stream", gate.base_url("brochure", "pieces"))
    assert told["pieces"] > 2 * TURNS


def test_an_agent_calls_its_tool_and_reflects(team: Stage, gate: Gate) -> None:
    told = team.same("tool", gate.base_url("helper", "tool"))
    assert told["kinds"] == ["TextMessage", "ToolCallRequestEvent", "ToolCallExecutionEvent", "TextMessage"]
    assert "Sunny in city" in told["said"][-1][1]


def test_the_example_runs_as_printed(gate: Gate) -> None:
    example = REPOSITORY / "examples" / "autogen_team.py"
    variables = {"HEADGATE_KEY": API_KEY, "HEADGATE_MODEL": "chat", "HEADGATE_RUN": "printed", "HEADGATE_URL": gate.url}
    printed = run_script("clients", example, variables)
    assert (printed.count("writer: "), printed.count("critic: ")) == (2, 2)
    assert gate.run("printed", calls=TURNS)["cost_usd_nanos"] > 0
    (run,) = (row for row in gate.command("runs")["rows"] if row["run"] == "printed")
    assert sorted(run["agents"]) == ["critic", "writer"]
