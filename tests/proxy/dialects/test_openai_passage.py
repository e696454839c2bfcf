from __future__ import annotations

import base64
import json

import pytest

from proxy.dialects import openai_passage
from proxy.dialects.base import EVENT_BYTES_MAX
from proxy.errors import ProxyError
from proxy.types import Endpoint
from tests.proxy.dialects.samples import (
    DONE,
    ERROR_EVENT,
    OPENAI,
    SILENT,
    TARGET,
    USAGE,
    USAGE_EVENT,
    call,
    chat,
    delta,
    event,
    facts,
    run,
)


def started() -> openai_passage.StreamPassage:
    passage = OPENAI.passage(chat(), TARGET)
    assert isinstance(passage, openai_passage.StreamPassage)
    passage.feed(delta())
    return passage


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
@pytest.mark.parametrize("chunk", [delta("x"), delta("x") * 3, delta('"usage" \\ [DONE'), b": ping\n\n"])
def test_a_content_chunk_goes_by_as_the_very_same_object(chunk: bytes, ends: bytes) -> None:
    passage, chunk = started(), chunk.replace(b"\n", ends)
    assert passage.feed(chunk) is chunk


@pytest.mark.parametrize(
    ("chunk", "is_loud"),
    [
        (delta('{"usage": 1}'), False),
        (event({"choices": [], "usage": None}), False),
        (b'data: {"usage":null,"finish_reason":null,"error":null}\n\n', False),
        (event({"usage": {}}), True),
        (event({"x_groq": {"usage": {}}}), True),
        (event({"finish_reason": "stop"}), True),
        (event({"error": {}}), True),
        (DONE, True),
        (b"event: error\ndata: {}\n\n", True),
        (b": c\n" + DONE, True),
        (b"data: {}\r\rdata: [DONE]\n\n", True),
    ],
)
def test_only_what_must_be_read_is_loud(chunk: bytes, is_loud: bool) -> None:
    assert openai_passage.ChatPassage.loud(chunk) is is_loud


CONTENTS = [
    {"content": "x"},
    {"content": [{"type": "text", "text": "x"}]},
    {"reasoning_content": "x"},
    {"reasoning": "x"},
    {"refusal": "no"},
    {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]},
    {"function_call": {"name": "f", "arguments": "{"}},
    {"audio": {"id": "a", "data": "UklG"}},
]


@pytest.mark.parametrize("part", CONTENTS)
def test_generated_output_is_content(part: dict[str, object]) -> None:
    passage = OPENAI.passage(chat(), TARGET)
    passage.feed(event({"choices": [{"index": 0, "delta": part, "finish_reason": None}]}))
    assert passage.content
    assert passage.output_tokens_seen() == 1


@pytest.mark.parametrize(
    "nothing",
    [
        delta("", role="assistant"),
        delta(None, tool_calls=[], reasoning=""),
        delta("", finish="stop"),
        USAGE_EVENT,
        b": ping\n\n",
        b"\n\n",
        event([]),
        event({"choices": [None, {"delta": 5}], "usage": 4}),
    ],
)
def test_what_says_nothing_is_not_content(nothing: bytes) -> None:
    passage = OPENAI.passage(chat(), TARGET)
    passage.feed(nothing)
    assert not passage.content
    assert passage.output_tokens_seen() == 0


def test_the_usage_event_is_read_and_kept_from_who_did_not_ask() -> None:
    passage = started()
    assert passage.feed(USAGE_EVENT) == b""
    assert passage.usage is not None and passage.usage.output == 4


@pytest.mark.parametrize("asking", [{"stream_options": {"include_usage": True}}, {"stream": False}])
def test_the_usage_event_reaches_who_asked_or_waits_for_the_whole(asking: dict[str, object]) -> None:
    passage = OPENAI.passage(chat(**asking), TARGET)
    assert passage.feed(delta() + USAGE_EVENT).endswith(USAGE_EVENT)


def test_a_usage_event_cut_inside_its_crlf_leaves_no_line_end_behind() -> None:
    passage = started()
    raw = USAGE_EVENT.replace(b"\n", b"\r\n")
    assert passage.feed(raw[:-1]) + passage.feed(raw[-1:]) == b""
    assert passage.feed(raw[:-1]) + passage.feed(raw[-1:] + delta()) == delta()
    assert passage.feed(DONE) == DONE


def test_usage_beside_content_passes_and_the_last_report_stands() -> None:
    passage = started()
    first = event({"choices": [{"index": 0, "delta": {"content": "a"}}], "usage": USAGE})
    last = event(
        {"choices": [{"index": 0, "delta": {}}], "usage": USAGE | {"completion_tokens": 5, "total_tokens": 14}}
    )
    assert passage.feed(first + last) == first + last
    assert passage.usage is not None and passage.usage.output == 5


def test_every_choice_must_end_before_the_reply_is_finished() -> None:
    passage = OPENAI.passage(chat(n=2), TARGET)
    passage.feed(delta() + delta(None, finish="stop") + delta(None, finish="stop"))
    assert not passage.finished
    passage.feed(delta(None, index=1, finish="length"))
    assert passage.finished and not passage.terminal


def test_after_the_end_marker_only_usage_is_read() -> None:
    passage = started()
    assert passage.feed(DONE + delta("ghost") + b": ping\n\n" + DONE) == DONE
    assert passage.terminal and passage.finished
    assert passage.feed(USAGE_EVENT) == b"" and passage.usage is not None
    assert passage.feed(ERROR_EVENT) == b"" and passage.fault is None


@pytest.mark.parametrize(
    ("words", "code", "status"),
    [
        ({"error": {"message": "m", "code": "rate_limit_exceeded"}}, "upstream_overloaded", 429),
        ({"error": {"message": "m", "type": "insufficient_quota"}}, "upstream_quota", 429),
        ({"error": {"message": "m", "code": 503}}, "upstream_error", 503),
        ({"error": {"message": "m", "code": "503"}}, "upstream_error", 503),
        ({"error": {"message": "m", "code": "context_length_exceeded"}}, "context_length_exceeded", 400),
        ({"error": {"message": "m", "code": "invalid_api_key"}}, "upstream_auth", 502),
        ({"error": {"message": "m"}}, "upstream_error", 502),
        ({"error": "overloaded", "error_type": "overloaded"}, "upstream_overloaded", 429),
        ({"object": "error", "message": "m", "code": 404}, "upstream_model_missing", 404),
        ({"error": {"message": "m"}, "choices": [{"delta": {"content": ""}}]}, "upstream_error", 502),
    ],
)
def test_an_error_object_is_the_error_its_status_would_be(words: object, code: str, status: int) -> None:
    before = OPENAI.passage(chat(), TARGET)
    assert before.feed(delta("") + event(words)) == delta("")
    after = started()
    assert after.feed(event(words) + delta("ghost") + DONE) == event(words)
    for passage in (before, after):
        assert passage.fault is not None
        assert (passage.fault.code, passage.fault.status) == (code, status)
        assert not passage.finished and not passage.terminal


def test_broken_json_before_content_is_raised_and_afterwards_told() -> None:
    broken = b'data: {"usage": {"prompt_tok\n\n'
    with pytest.raises(ProxyError, match="not JSON"):
        OPENAI.passage(chat(), TARGET).feed(delta("") + broken)
    passage = started()
    out = passage.feed(delta("a") + broken + delta("b") + DONE)
    assert out.startswith(delta("a")) and b"upstream_broken" in out and b'"b"' not in out and b"[DONE]" not in out
    assert passage.fault is not None and passage.fault.code == "upstream_broken" and not passage.finished


def test_broken_json_that_nobody_reads_passes() -> None:
    passage = started()
    assert passage.feed(b"data: {oops\n\n") == b"data: {oops\n\n"
    assert passage.fault is None


@pytest.mark.parametrize("text", [r"\ud800", r"\ud83d\ude00", r"\"usage\":5"])
def test_lone_surrogates_are_content(text: str) -> None:
    raw = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % text.encode()
    passage = OPENAI.passage(chat(), SILENT)
    assert passage.feed(raw) == raw and passage.content
    assert passage.text() == json.loads(f'"{text}"')


def test_a_last_event_without_blank_line_counts_and_a_torn_one_does_not() -> None:
    passage = started()
    assert passage.feed(b"data: [DONE]") == b"" and passage.close() == b"data: [DONE]" and passage.finished
    passage = started()
    assert passage.feed(delta("x")[:-1]) == b"" and passage.close() == delta("x") + b"\n" and not passage.finished
    passage = started()
    assert passage.feed(delta("x")[:-9]) == b"" and passage.close() == b"" and not passage.finished


def test_tokens_seen_follow_the_bytes_relayed() -> None:
    passage = OPENAI.passage(chat(), TARGET)
    passage.feed(delta("four more words than one token".ljust(40)))
    assert passage.output_tokens_seen() == 10
    for _ in range(9):
        passage.feed(delta("four more words than one token".ljust(40)))
    assert passage.output_tokens_seen() == 100


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("split", [1, 7, 150, 10_000])
def test_events_are_counted_from_the_first_content_to_the_end(split: int, line_end: bytes) -> None:
    stream = b"".join([delta("", role="assistant"), *[delta("word")] * 20, delta(None, finish="stop"), DONE])
    stream = stream.replace(b"\n", line_end)
    passage = OPENAI.passage(chat(), TARGET)
    assert run(passage, [stream[at : at + split] for at in range(0, len(stream), split)]) == stream
    assert passage.events == 20


@pytest.mark.parametrize("alive", [b": waiting\n\n", b":\n\n" * 400])
def test_signs_of_life_between_events_are_no_output(alive: bytes) -> None:
    passage = OPENAI.passage(chat(), TARGET)
    passage.feed(delta("four more words than one token".ljust(40)))
    for _ in range(100):
        passage.feed(alive)
    assert passage.output_tokens_seen() == 10
    assert passage.feed(alive + delta("one more".ljust(40))) == alive + delta("one more".ljust(40))


def test_text_is_kept_only_where_the_upstream_reports_no_usage_and_is_bounded() -> None:
    passage = started()
    assert passage.text() is None
    passage = OPENAI.passage(chat(), SILENT)
    call = {"index": 0, "function": {"name": "f", "arguments": "{}"}}
    passage.feed(delta("a") + delta("é", tool_calls=[call]) + delta(None, reasoning_content="why"))
    assert passage.text() == "aéf{}why"
    for _ in range(20):
        passage.feed(delta("x" * 100_000))
    kept = passage.text()
    assert kept is not None and 900_000 < len(kept) <= openai_passage.TEXT_BYTES_MAX


def test_an_event_of_megabytes_in_tiny_pieces_passes_whole() -> None:
    big = delta("y" * 1_500_000)
    passage = OPENAI.passage(chat(), TARGET)
    assert run(passage, [big[at : at + 700] for at in range(0, len(big), 700)]) == big


def test_an_event_above_the_limit_is_refused() -> None:
    passage = started()
    piece = b"data: " + b"z" * (EVENT_BYTES_MAX // 2)
    assert passage.feed(piece) == b""
    with pytest.raises(ProxyError, match="above"):
        passage.feed(piece)


@pytest.mark.parametrize("endpoint", ["speech", "images", "transcriptions"])
def test_other_streams_are_finished_by_a_clean_end(endpoint: Endpoint) -> None:
    passage = OPENAI.passage(call(endpoint), TARGET)
    audio = event({"type": "speech.audio.delta", "audio": base64.b64encode(bytes(300)).decode()})
    assert passage.feed(audio) == audio and passage.content and not passage.finished
    report = event(
        {"type": "speech.audio.progress", "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}}
    )
    assert passage.feed(audio + report + audio) == audio + report + audio
    assert passage.usage is not None and passage.usage.output == 2
    assert passage.close() == b"" and passage.finished


def test_other_streams_end_at_their_done_event_and_not_in_a_torn_one() -> None:
    passage = OPENAI.passage(call("speech"), TARGET)
    passage.feed(event({"type": "speech.audio.done"}))
    assert passage.finished
    passage = OPENAI.passage(call("speech"), TARGET)
    passage.feed(event({"type": "x"}) + b'data: {"type": "sp')
    assert passage.close() == b"" and not passage.finished
    passage = OPENAI.passage(call("speech"), TARGET)
    assert run(passage, [event({"type": "x"}) + ERROR_EVENT]).endswith(ERROR_EVENT) and not passage.finished


def test_a_passage_shows_its_state() -> None:
    passage = started()
    assert repr(passage).startswith("ChatPassage(content=True, finished=False") and facts(passage)["model"] == "m-1-0"


@pytest.mark.parametrize("split", [1, 7, 10_000])
def test_the_last_word_on_the_tier_that_was_served_counts(split: int) -> None:
    passage = OPENAI.passage(chat(), TARGET)
    first = event({"choices": [{"index": 0, "delta": {"content": "hi"}}], "service_tier": "auto"})
    last = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "service_tier": "default"})
    stream = first + delta() + last + DONE
    assert run(passage, [stream[at : at + split] for at in range(0, len(stream), split)]) == stream
    assert passage.tier == "default"
