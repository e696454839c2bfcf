"""An orchestrator on the OpenAI SDK is killed in the middle of a run; what it had bought is not bought again."""

from __future__ import annotations

import pytest

from tests.real.conftest import OnStage, Upstream
from tests.real.gate import API_KEY, Gate, cost_usd_nanos

pytestmark = pytest.mark.real

STEPS = 6


@pytest.mark.parametrize(
    ("agent", "suffix"), [("named", ""), ("by-run", "_without_names")], ids=["keys", "replay: run"]
)
def test_a_run_that_is_killed_and_resumed_costs_nothing_twice(
    agent: str, suffix: str, on_stage: OnStage, upstream: Upstream, gate: Gate
) -> None:
    base_url = gate.base_url(agent, f"trip-{agent}")
    upstream.reset()
    first = on_stage("clients", "steps").client
    with pytest.raises(AssertionError):  # it is gone, without a word
        first.run(f"die{suffix}", base_url, API_KEY)
    assert upstream.bill()["chat"]["calls"] == 3
    answer = on_stage("clients", "steps").client.run(f"resume{suffix}", base_url, API_KEY)
    assert len(answer["value"]) == STEPS
    bill = upstream.bill()["chat"]
    assert bill["calls"] == STEPS, "the third step was answered twice and bought once"
    assert gate.run(f"trip-{agent}", calls=STEPS + 1)["errors"] == 0
    spend = gate.spend("agent", agent)
    assert (spend["calls"], spend["cost_usd_nanos"]) == (STEPS + 1, cost_usd_nanos(bill))
    decided = [gate.admin(f"/requests/{row['request_id']}")["decision"] for row in _calls(gate, agent)]
    assert sum("answered from the journal" in " ".join(words) for words in decided) == 1


def test_a_graph_that_is_killed_between_an_answer_and_its_checkpoint_buys_nothing_twice(
    on_stage: OnStage, upstream: Upstream, gate: Gate
) -> None:
    base_url = gate.base_url("by-run", "graph")
    upstream.reset()
    with pytest.raises(AssertionError):
        on_stage("clients", "langgraph_resumed").client.run("die", base_url, API_KEY)
    assert upstream.bill()["chat"]["calls"] == 3
    said = on_stage("clients", "langgraph_resumed").client.run("resume", base_url, API_KEY)["value"]
    assert len(said) == 4
    assert upstream.bill()["chat"]["calls"] == 4, "the third step was taken twice and bought once"
    assert gate.run("graph", calls=5)["errors"] == 0


def _calls(gate: Gate, agent: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = gate.admin(f"/requests?agent={agent}")["rows"]
    return rows
