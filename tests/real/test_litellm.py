"""The LiteLLM SDK, pointed at the gate by its `api_base`, works as it does against the upstream."""

from __future__ import annotations

import pytest

from tests.real.conftest import OnStage, Stage, Upstream
from tests.real.gate import Gate, cost_usd_nanos

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def litellm(on_stage: OnStage) -> Stage:
    return on_stage("litellm", "litellm_sdk")


@pytest.mark.parametrize("scenario", ["completion", "completion_stream", "async_completion", "async_completion_stream"])
def test_a_completion_is_the_upstreams_and_is_billed(
    litellm: Stage, upstream: Upstream, gate: Gate, scenario: str
) -> None:
    told = litellm.same(scenario, gate.base_url("litellm", f"litellm-{scenario}"))
    assert told["content"].strip() == "Turn 1: Hello"
    bill = upstream.bill()["chat"]
    assert told.get("usage") in (None, [bill["input_tokens"], bill["output_tokens"]])
    run = gate.run(f"litellm-{scenario}", calls=1)
    assert (run["calls"], run["cost_usd_nanos"]) == (1, cost_usd_nanos(bill))


def test_its_session_header_names_the_run(litellm: Stage, gate: Gate) -> None:
    litellm.through("session", gate.base_url("litellm"))
    assert gate.run("litellm-session", calls=1)["calls"] == 1


def test_an_embedding_is_the_upstreams(litellm: Stage) -> None:
    assert len(litellm.same("embedding")["vector"]) == 8


def test_an_unknown_model_raises_its_class_for_that(litellm: Stage, upstream: Upstream) -> None:
    assert "NotFoundError" in litellm.refused("unknown_model")["classes"]
    assert upstream.log() == []


def test_an_overloaded_upstream_raises_its_class_for_that(litellm: Stage, upstream: Upstream) -> None:
    assert "RateLimitError" in litellm.refused("busy")["classes"]
    assert 1 <= len(upstream.log()) <= 3
