"""A LangGraph ReAct agent with tools and a checkpointer runs through the gate and shows up with its cost."""

from __future__ import annotations

import pytest

from tests.real.conftest import OnStage, Stage, Upstream
from tests.real.gate import API_KEY, Gate, cost_usd_nanos
from tests.real.processes import REPOSITORY, run_script

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def agent(on_stage: OnStage) -> Stage:
    return on_stage("clients", "langgraph_agent")


def test_an_agent_runs_is_resumed_by_another_process_and_is_billed_to_its_run(
    agent: Stage, on_stage: OnStage, upstream: Upstream, gate: Gate
) -> None:
    base_url = gate.base_url("researcher", "thesis")
    first = agent.same("start", base_url)
    assert first["messages"] == ["human", "ai", "tool", "tool", "ai"]
    bill = [upstream.bill()["chat"]]
    second = on_stage("clients", "langgraph_agent").same("resume", base_url)
    assert second["messages"] == first["messages"] * 2
    bill.append(upstream.bill()["chat"])
    cost = sum(map(cost_usd_nanos, bill))
    assert second["tokens"] == [sum(line[side] for line in bill) for side in ("input_tokens", "output_tokens")]

    assert gate.run("thesis", calls=4)["cost_usd_nanos"] == cost
    assert gate.run("thesis", calls=4)["errors"] == 0
    spend = gate.spend("agent", "researcher")
    assert (spend["calls"], spend["cost_usd_nanos"], spend["unpriced_calls"]) == (4, cost, 0)
    assert spend["estimated_usd_nanos"] == 0


def test_the_run_shows_up_in_the_commands(agent: Stage, gate: Gate, upstream: Upstream) -> None:
    agent.through("start", gate.base_url("scholar", "paper"))
    cost = cost_usd_nanos(upstream.bill()["chat"])
    assert gate.run("paper", calls=2)["calls"] == 2
    (run,) = (row for row in gate.command("runs")["rows"] if row["run"] == "paper")
    assert (run["agents"], run["summary"]["cost_usd_nanos"]) == (["scholar"], cost)
    (row,) = (row for row in gate.command("spend", "--by", "agent")["rows"] if row["key"] == "scholar")
    assert (row["calls"], row["cost_usd_nanos"]) == (2, cost)


def test_tokens_stream_out_of_the_agent_as_they_do_without_the_gate(agent: Stage, gate: Gate) -> None:
    told = agent.same("stream", gate.base_url("researcher", "streamed"))
    assert told["text_chunks"] >= 3
    assert told["tools"] == 2
    assert told["tokens"][0] > 0
    assert gate.run("streamed", calls=2)["calls"] == 2


def test_agents_at_once_do_not_mix(agent: Stage, gate: Gate) -> None:
    answers = agent.same("several_at_once", gate.base_url("researcher", "crowd"))
    assert len(answers) == 3
    assert gate.run("crowd", calls=6)["calls"] == 6


def test_the_example_runs_as_printed(gate: Gate) -> None:
    example = REPOSITORY / "examples" / "langgraph_agent.py"
    variables = {"HEADGATE_KEY": API_KEY, "HEADGATE_MODEL": "chat", "HEADGATE_RUN": "example", "HEADGATE_URL": gate.url}
    printed = run_script("clients", example, variables)
    assert printed.count("Turn ") == 2
    assert gate.run("example", calls=4)["cost_usd_nanos"] > 0
