"""A call's spans: parents that fit, times that fit, nothing red about a hedge, and not a word of a prompt."""

from __future__ import annotations

from msgspec import json, structs

from proxy.observed import Decision
from proxy.telemetry.span import Span, span_id
from proxy.telemetry.spans import spans
from proxy.types import Attempt, Identity, Outcome, Usage
from tests.build import call, target

PROMPT = "a prompt that nobody may read"
CALL = structs.replace(
    call(identity=Identity(key_id="key-1", agent="planner", run="run-1")),
    raw=f'{{"model":"m","messages":[{{"role":"user","content":"{PROMPT}"}}]}}'.encode(),
    trace_id="ab" * 16,
    parent_span="cd" * 8,
)


def attempt(number: int, **changes: object) -> Attempt:
    made = Attempt(
        number=number,
        role="first",
        target=target(f"up{number}/model"),
        started_at=1000.5,
        duration_s=2.0,
        lesson="success",
        usage=Usage(input_uncached=10, input_cached=5, output=7),
        cost_usd_nanos=1_500,
        status=200,
    )
    return structs.replace(made, **changes)


def outcome(*attempts: Attempt, **changes: object) -> Outcome:
    made = Outcome(
        call=CALL, plan=None, attempts=attempts, status=200, duration_s=3.0, served_by="primary", first_event_s=0.7
    )
    return structs.replace(made, **changes)


def attributes(span: Span) -> dict[str, object]:
    listed = span["attributes"]
    assert isinstance(listed, list)
    return {each["key"]: next(iter(each["value"].values())) for each in listed}


def test_attempts_hang_on_the_call_and_the_call_on_its_caller() -> None:
    server, first, second = spans(outcome(attempt(1), attempt(2, role="retry")), ("genai",))
    assert {span["traceId"] for span in (server, first, second)} == {CALL.trace_id}
    assert server["parentSpanId"] == CALL.parent_span
    assert first["parentSpanId"] == second["parentSpanId"] == server["spanId"]
    assert len({span["spanId"] for span in (server, first, second)}) == 3
    assert first["name"] == "chat model"
    assert (server["kind"], first["kind"]) == (2, 3)


def test_an_upstream_was_told_the_span_that_it_hangs_on() -> None:
    _, first, again = spans(outcome(attempt(1), attempt(2, target=target("up1/model"))), ("genai",))
    assert first["spanId"] == span_id(CALL.id, "up1/model")
    assert again["spanId"] != first["spanId"]


def test_times_are_those_of_the_wall() -> None:
    server, first = spans(outcome(attempt(1)), ("genai",))
    began = round(CALL.arrived_wall * 1e9)
    assert int(str(server["startTimeUnixNano"])) == began
    assert int(str(server["endTimeUnixNano"])) == began + 3_000_000_000
    assert int(str(first["startTimeUnixNano"])) == began + 500_000_000


def test_tokens_cost_and_names_are_there() -> None:
    server, first = spans(outcome(attempt(1)), ("genai",))
    told = attributes(first)
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == ("15", "7")
    assert told["headgate.cost_usd"] == 1.5e-06
    assert told["gen_ai.provider.name"] == "up1"
    told = attributes(server)
    assert (told["gen_ai.agent.name"], told["gen_ai.conversation.id"]) == ("planner", "run-1")
    assert not any(name.startswith(("langfuse", "openinference")) for name in told)


def test_a_hedge_that_lost_is_no_error() -> None:
    lost = attempt(2, role="hedge", lesson="ignore", usage=None)
    _, _, hedge = spans(outcome(attempt(1), lost), ("genai",))
    assert "status" not in hedge
    assert attributes(hedge)["headgate.cancelled"] is True
    assert attributes(hedge)["headgate.hedge.won"] is False


def test_what_failed_is_red() -> None:
    failed = attempt(1, lesson="failure", error_code="upstream_error", status=500, usage=None)
    server, first, _ = spans(outcome(failed, attempt(2, role="retry")), ("genai",))
    assert "status" not in server, "the call itself went well"
    assert first["status"] == {"code": 2, "message": "upstream_error"}
    (server, _) = spans(outcome(failed, status=502, error_code="upstream_error", error_source="upstream"), ("genai",))
    assert server["status"] == {"code": 2, "message": "upstream_error"}


def test_others_read_attributes_of_their_own() -> None:
    server, first = spans(outcome(attempt(1)), ("genai", "langfuse", "openinference"))
    assert attributes(server)["langfuse.session.id"] == "run-1"
    assert attributes(first)["langfuse.observation.usage_details"] == '{"input":15,"output":7}'
    assert attributes(first)["llm.token_count.total"] == "22"


def test_no_word_of_a_prompt() -> None:
    said = outcome(attempt(1), decisions=(Decision(1001.0, "up1/model was lowest in score"),))
    text = json.encode(spans(said, ("genai", "langfuse", "openinference")))
    assert PROMPT.encode() not in text
    assert b"lowest in score" in text
