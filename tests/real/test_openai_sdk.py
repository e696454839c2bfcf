"""The OpenAI SDK, its current major version and the one before, cannot tell the gate from its upstream."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.real import upstream as scripted
from tests.real.conftest import OnStage, Stage
from tests.real.gate import API_KEY, Gate, cost_usd_nanos
from tests.real.processes import REPOSITORY, run_script

pytestmark = pytest.mark.real


@pytest.fixture(scope="module", params=["clients", "litellm"], ids=["openai-3", "openai-2"])
def sdk(request: pytest.FixtureRequest, on_stage: OnStage) -> Stage:
    return on_stage(request.param, "openai_sdk")


@pytest.fixture
def patient(sdk: Stage, patient_gate: Gate) -> Stage:
    return Stage(sdk.client, sdk.upstream, patient_gate)


def test_each_environment_has_another_major_version(sdk: Stage, request: pytest.FixtureRequest) -> None:
    major = sdk.through("version").split(".")[0]
    assert f"openai-{major}" in request.node.name


# --- replies ------------------------------------------------------------------------------------------------------


def test_a_chat_reply_is_the_upstreams(sdk: Stage) -> None:
    reply = sdk.same("chat")
    assert reply["choices"][0]["message"]["content"] == "Turn 2: Hello, Wörld 👋"
    assert reply["usage"]["total_tokens"] > 0


def test_an_async_chat_reply_is_the_upstreams(sdk: Stage) -> None:
    assert sdk.same("async_chat")["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("scenario", ["chat_stream", "async_chat_stream"])
def test_a_stream_has_the_upstreams_chunks_and_no_usage_that_nobody_asked_for(sdk: Stage, scenario: str) -> None:
    chunks = sdk.same(scenario)
    assert "".join(chunk["choices"][0]["delta"]["content"] or "" for chunk in chunks).startswith("Turn 2: Hello")
    assert all(chunk["choices"] and not chunk["usage"] for chunk in chunks)


def test_a_stream_ends_with_usage_when_asked(sdk: Stage) -> None:
    chunks = sdk.same("chat_stream_with_usage")
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] > 0


def test_two_tools_are_called_at_once_and_their_results_answered(sdk: Stage) -> None:
    first, second = sdk.same("tools")
    assert [call["function"]["name"] for call in first["choices"][0]["message"]["tool_calls"]] == ["weather", "add"]
    assert first["choices"][0]["finish_reason"] == "tool_calls"
    assert second["choices"][0]["message"]["content"] == "Turn 5: 12.5"


def test_interleaved_pieces_of_tool_calls_keep_their_order(sdk: Stage) -> None:
    told = sdk.same("tools_woven")
    assert told["order"][:4] == [0, 1, 0, 1]
    assert [json.loads(text) for text in told["arguments"]] == [{"city": 'city "ü"'}, {"first": 2, "second": 2.5}]


def test_pieces_of_tool_calls_assemble(sdk: Stage) -> None:
    told = sdk.same("tools_stream")
    calls = told["final"]["choices"][0]["message"]["tool_calls"]
    expected = [{"city": 'city "ü"'}, {"first": 2, "second": 2.5}]
    assert [call["function"]["parsed_arguments"] for call in calls] == expected
    assert told["events"].count("tool_calls.function.arguments.done") == 2


def test_parallel_tool_calls_can_be_switched_off(sdk: Stage) -> None:
    assert len(sdk.same("one_tool_at_a_time")["choices"][0]["message"]["tool_calls"]) == 1


@pytest.mark.parametrize("scenario", ["structured", "structured_stream"])
def test_structured_output_parses_into_the_callers_type(sdk: Stage, scenario: str) -> None:
    assert sdk.same(scenario) == {"steps": [{"explanation": 'explanation "ü"', "output": 2.5}], "final": True}


def test_embeddings_travel_as_base64_and_as_floats(sdk: Stage) -> None:
    packed = sdk.same("embeddings")
    assert [len(item["embedding"]) for item in packed["data"]] == [8, 8]
    assert len(sdk.same("embeddings_as_floats")["data"][0]["embedding"]) == 3


@pytest.mark.parametrize("scenario", ["completion", "completion_stream"])
def test_old_completions_are_the_upstreams(sdk: Stage, scenario: str) -> None:
    assert "and so said Once" in str(sdk.same(scenario))


def test_the_responses_api_passes_whole_and_streamed(sdk: Stage) -> None:
    assert sdk.same("response")["text"] == "Responding to: Hello"
    events = sdk.same("response_stream")
    assert [events[0]["type"], events[-1]["type"]] == ["response.created", "response.completed"]


def test_models_lists_what_the_key_may_use(sdk: Stage) -> None:
    assert set(sdk.through("models")) >= {"chat", "embed", "slow"}
    assert sdk.through("one_model") == "chat"


def test_a_reply_names_its_request_agent_run_and_target_in_headers(sdk: Stage) -> None:
    told = sdk.through("headers", sdk.gate.base_url("reader", "run-of-headers"))
    assert told["request_id"]
    expected = {
        "x-headgate-agent": "reader",
        "x-headgate-run": "run-of-headers",
        "x-headgate-model": "chat",
        "x-headgate-target": "lab/chat",
        "x-headgate-served-by": "primary",
        "x-headgate-attempts": "1",
    }
    assert told["headgate"].items() >= expected.items()
    usd = cost_usd_nanos(sdk.upstream.bill()["chat"]) / 1e9
    assert float(told["headgate"]["x-headgate-cost-usd"]) == pytest.approx(usd)
    assert "set-cookie" not in told["names"]


# --- refusals and retries -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "kind", "status", "code", "upstream_calls"),
    [
        ("wrong_key", "AuthenticationError", 401, "invalid_api_key", 0),
        ("unknown_model", "NotFoundError", 404, "model_not_found", 0),
        ("upstream_lost_the_model", "NotFoundError", 404, "model_not_found", 1),
        ("context_too_long", "BadRequestError", 400, "context_length_exceeded", 1),
        ("too_large", "APIStatusError", 413, "request_too_large", 0),
        ("upstream_refuses_our_key", "InternalServerError", 502, "upstream_auth", 1),
    ],
)
def test_a_refusal_raises_the_sdks_own_class_and_is_not_retried(
    sdk: Stage, scenario: str, kind: str, status: int, code: str, upstream_calls: int
) -> None:
    error = sdk.refused(scenario)
    assert kind in error["classes"]
    assert (error["status_code"], error["code"]) == (status, code)
    assert len(sdk.upstream.log()) == upstream_calls
    assert scripted.API_KEY not in str(error) and API_KEY not in str(error)


def test_the_field_at_fault_is_named(sdk: Stage) -> None:
    assert sdk.refused("context_too_long")["param"] == "messages"
    error = sdk.refused("wrong_type")
    assert ("BadRequestError" in error["classes"], error["param"]) == (True, "stream")
    assert sdk.upstream.log() == []


def test_an_overloaded_upstream_is_asked_three_times_and_raises_its_own_error(sdk: Stage) -> None:
    error = sdk.refused("busy")
    assert "RateLimitError" in error["classes"]
    assert (error["status_code"], error["code"]) == (429, "rate_limit_exceeded")
    assert [call["client_retry"] for call in sdk.upstream.log()] in (["0", "1", "2"], [None, None, None])


def test_a_broken_upstream_is_asked_three_times_and_raises(sdk: Stage) -> None:
    error = sdk.refused("broken")
    assert "InternalServerError" in error["classes"]
    assert len(sdk.upstream.log()) == 3


def test_the_sdk_gets_over_two_refusals_by_its_own_retries(sdk: Stage) -> None:
    answer = sdk.through("busy_twice")
    assert (answer["retries"], len(sdk.upstream.log())) == (2, 3)


def test_the_sdk_sleeps_the_upstreams_retry_after(sdk: Stage) -> None:
    """Its own first pause would be half a second at most."""
    sdk.through("busy_for_a_second")
    first, second = (call["at"] for call in sdk.upstream.log())
    assert second - first >= 1.0


def test_what_the_gate_has_retried_the_sdk_does_not_retry_again(patient: Stage) -> None:
    answer = patient.through("busy_twice")
    assert (answer["retries"], len(patient.upstream.log())) == (0, 3)
    assert answer["headers"]["x-headgate-attempts"] == "3"
    assert answer["headers"]["x-headgate-served-by"] == "retry"


# --- endings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["leave_a_stream", "leave_a_stream_async"])
def test_who_leaves_a_stream_stops_the_upstream_and_pays_for_what_was_sent(sdk: Stage, scenario: str) -> None:
    run = f"{scenario}-{id(sdk.client)}"
    told = sdk.through(scenario, sdk.gate.base_url("leaver", run))
    assert told["read"] == ["word0 ", "word1 ", "word2 "]
    (call,) = sdk.upstream.log()
    assert call["left"]
    assert 3 <= call["chunks"] < scripted.SLOW_CHUNKS / 4
    assert sdk.gate.run(run, calls=1)["cost_usd_nanos"] > 0


def test_who_stops_waiting_for_a_reply_stops_the_upstream(sdk: Stage) -> None:
    """The SDK tells how long it will wait, so the gate may be the first to say that it took too long."""
    error = sdk.refused("give_up_waiting")
    assert "APITimeoutError" in error["classes"] or error["status_code"] == 504
    (call,) = sdk.upstream.log()
    assert call["left"]


def test_a_stream_may_last_longer_than_the_sdk_waits_for_one_piece(sdk: Stage) -> None:
    assert len(sdk.same("patient_for_each_piece")) == 40


@pytest.mark.parametrize("scenario", ["cut_stream", "error_in_stream"])
def test_a_stream_that_went_wrong_never_ends_as_if_it_had_not(sdk: Stage, scenario: str) -> None:
    error = sdk.refused(scenario)
    assert {"APIError", "TransportError", "RemoteProtocolError"} & set(error["classes"]), error
    assert len(sdk.upstream.log()) == 1


def test_an_error_in_a_stream_keeps_the_upstreams_words(sdk: Stage) -> None:
    assert "the engine fell over" in sdk.refused("error_in_stream")["text"]


def test_an_error_before_the_first_content_is_an_error_status(sdk: Stage) -> None:
    error = sdk.refused("error_as_first_event")
    assert "APIStatusError" in error["classes"]
    assert error["status_code"] >= 500


def test_the_upstream_never_sees_the_gates_key(sdk: Stage) -> None:
    """Nor could it answer: it knows one key, its own."""
    sdk.through("chat")
    assert [call["status"] for call in sdk.upstream.log()] == [200]


def test_an_unchanged_program_goes_through_by_its_environment_alone(gate: Gate, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from openai import OpenAI\n"
        "reply = OpenAI().chat.completions.create(model='chat', messages=[{'role': 'user', 'content': 'Say hello.'}])\n"
        "print(reply.choices[0].message.content)\n"
    )
    variables = {"OPENAI_BASE_URL": gate.base_url("planner", "unchanged"), "OPENAI_API_KEY": API_KEY}
    assert run_script("clients", program, variables) == "Turn 1: Say hello.\n"
    assert gate.run("unchanged", calls=1)["calls"] == 1


@pytest.mark.parametrize("environment", ["clients", "litellm"], ids=["openai-3", "openai-2"])
def test_the_example_runs_as_printed(gate: Gate, environment: str) -> None:
    example = REPOSITORY / "examples" / "openai_sdk.py"
    variables = {"HEADGATE_KEY": API_KEY, "HEADGATE_MODEL": "chat", "HEADGATE_URL": gate.url}
    assert run_script(environment, example, variables) == "Turn 1: Say hello.\nTurn 1: And now in pieces. \n"
