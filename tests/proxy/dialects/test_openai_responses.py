from __future__ import annotations

import json

import pytest

from tests.proxy.dialects.samples import DONE, OPENAI, TARGET, call, event


def typed(kind: str, **more: object) -> bytes:
    return f"event: {kind}\n".encode() + event({"type": kind} | more)


END = typed("response.completed", response={"usage": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}})
DELTA = typed("response.output_text.delta", delta="hi")


@pytest.mark.parametrize(
    "kind",
    [
        "response.output_text.delta",
        "response.reasoning_text.delta",
        "response.reasoning_summary_text.delta",
        "response.function_call_arguments.delta",
        "response.refusal.delta",
    ],
)
def test_every_delta_is_content(kind: str) -> None:
    passage = OPENAI.passage(call("responses"), TARGET)
    created = typed("response.created", response={"model": "m-1-x", "usage": None, "error": None})
    assert passage.feed(created) == created and not passage.content
    passage.feed(typed(kind, delta="x"))
    assert passage.content and passage.model == "m-1-x"


def test_an_empty_delta_and_items_are_not_content() -> None:
    passage = OPENAI.passage(call("responses"), TARGET)
    passage.feed(typed("response.output_item.added", item={}) + typed("response.output_text.delta", delta=""))
    assert not passage.content


def test_a_partial_image_is_content() -> None:
    passage = OPENAI.passage(call("responses"), TARGET)
    passage.feed(typed("response.image_generation_call.partial_image", partial_image_b64="aGk="))
    assert passage.content and passage.output_tokens_seen() == 1


@pytest.mark.parametrize("kind", ["completed", "incomplete"])
def test_the_last_event_ends_the_stream_and_reports_usage(kind: str) -> None:
    passage = OPENAI.passage(call("responses"), TARGET)
    end = END.replace(b"completed", kind.encode())
    assert passage.feed(DELTA) == DELTA
    assert passage.feed(DELTA) == DELTA and not passage.finished
    assert passage.feed(end + DELTA) == end
    assert passage.finished and passage.terminal
    assert passage.usage is not None and (passage.usage.input_uncached, passage.usage.output) == (5, 2)


def test_a_marker_some_engines_add_passes_once() -> None:
    passage = OPENAI.passage(call("responses"), TARGET)
    assert passage.feed(DELTA + END + DONE + DONE) == DELTA + END + DONE


@pytest.mark.parametrize(
    ("failing", "code"),
    [
        (typed("error", code="rate_limit_exceeded", message="m"), "upstream_overloaded"),
        (typed("response.failed", response={"error": {"code": "server_error", "message": "m"}}), "upstream_error"),
        (typed("response.failed", response=None), "upstream_error"),
        (event({"error": {"message": "m", "code": 503}}), "upstream_error"),
    ],
)
def test_a_failed_response_is_a_fault_with_the_words_of_an_error(failing: bytes, code: str) -> None:
    for before, out in ((b"", b""), (DELTA, DELTA + failing)):
        passage = OPENAI.passage(call("responses"), TARGET)
        assert passage.feed(before + failing + END) == out
        assert passage.fault is not None and passage.fault.code == code and not passage.finished
        assert passage.fault.passed is not None and "error" in json.loads(passage.fault.passed.body)


def test_a_content_chunk_goes_by_as_the_very_same_object() -> None:
    passage = OPENAI.passage(call("responses"), TARGET)
    passage.feed(DELTA)
    assert passage.feed(DELTA) is DELTA


def test_the_last_event_says_at_which_tier_it_was_served() -> None:
    passage = OPENAI.passage(call("responses"), TARGET)
    passage.feed(typed("response.created", response={"service_tier": "auto"}) + DELTA)
    passage.feed(typed("response.completed", response={"service_tier": "priority"}))
    assert passage.tier == "priority"
