"""Two streams read as one: the same text, one role, one name, a sum that fits, however the bytes were cut."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from proxy.dialects.base import Passage
from proxy.dialects.openai_splice import TEXT_BYTES_MAX, UNREAD_MAX, SplicedPassage, Transcript, continuing
from proxy.observed import Begun
from proxy.types import Call, Usage
from tests.effort import examples
from tests.proxy.dialects.samples import DONE, ERROR_EVENT, OPENAI, TARGET, chat, event, run

FIRST = {"id": "one", "object": "chat.completion.chunk", "created": 1, "model": "m-1"}
SECOND = {"id": "two", "object": "chat.completion.chunk", "created": 2, "model": "m-1-x", "system_fingerprint": "f"}


def said(text: str | None, by: dict[str, object] = FIRST, finish: str | None = None, **more: object) -> bytes:
    delta = {"content": text} if text is not None else {}
    return event({**by, "choices": [{"index": 0, "delta": delta | more, "finish_reason": finish}]})


def usage(prompt: int, completion: int, **more: object) -> dict[str, object]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, **more}


def told(*events: bytes) -> Begun | str:
    transcript = Transcript()
    for each in events:
        transcript.add(each)
    return transcript.begun()


def begun(*events: bytes) -> Begun:
    found = told(*events)
    assert isinstance(found, Begun)
    return found


def resumed(after: Begun, **changes: object) -> Call:
    call = chat(**changes)
    return structs.replace(call, head=structs.replace(call.head, begun=after))


def payloads(out: bytes) -> list[dict[str, object]]:
    return [json.loads(line[6:]) for line in out.split(b"\n") if line.startswith(b"data: {")]


# --- what was said ---------------------------------------------------------------------------------------------------


def test_the_text_of_whole_events_is_known_and_where_it_began() -> None:
    opening = said("", role="assistant")
    found = begun(b": hi\n\n", opening, said("a") + said("b"), said(None), said("ü"))
    assert found == Begun("abü", 3, opening)
    assert repr(found) == "Begun(3 tokens)"


def test_events_in_a_hurry_hold_more_than_one_token_each() -> None:
    assert begun(said("x" * 8)).tokens == 1
    assert begun(said("x" * 40), said("y")).tokens == 11


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([said("", role="assistant")], "it had said nothing"),
        ([said("a"), said(None, finish="stop")], "the model had finished"),
        ([said("a"), DONE], "it was whole"),
        ([said("a", tool_calls=[{"index": 0}])], "it had begun with tool_calls"),
        ([said("a", reasoning_content="hm")], "it had begun with reasoning_content"),
        ([said("a", refusal="no")], "it had begun with refusal"),
        ([said("a"), event({"choices": [{"index": 1, "delta": {"content": "b"}}]})], "it is more than one text"),
        (
            [event({"choices": [{"index": 0, "delta": {"content": "b"}, "logprobs": {"content": []}}]})],
            "it is more than",
        ),
        ([said("a"), b"data: {\n\n"], "it said something that cannot be read"),
        ([said("a"), event([1])], "it said something that cannot be read"),
        ([event({"choices": [{"delta": {"content": [1]}}]})], "it said something that cannot be read"),
        ([event({"choices": [7]})], "it said something that cannot be read"),
        ([said("x" * (TEXT_BYTES_MAX + 1))], "it is too long"),
    ],
)
def test_what_is_no_plain_text_that_goes_on_says_why(events: list[bytes], why: str) -> None:
    found = told(*events)
    assert isinstance(found, str)
    assert found.startswith(why)


def test_what_waits_to_be_read_is_bounded() -> None:
    transcript = Transcript()
    for _ in range(UNREAD_MAX // 20):
        transcript.add(said("word"))
    assert int(repr(transcript).split(" bytes of text, ")[1].split()[0]) <= UNREAD_MAX
    found = transcript.begun()
    assert isinstance(found, Begun)
    assert found.text == "word" * (UNREAD_MAX // 20)


# --- what is asked for -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("messages", ["[ ]", '[{"role":"user","content":"]"} ]'])
def test_the_rest_is_asked_for_as_the_engines_want_it(messages: str) -> None:
    raw = f'{{"model":"m", "messages": {messages}, "stream":true,"temperature":1.50,"max_tokens":9}}'.encode()
    call = chat()
    call = structs.replace(call, raw=raw, head=OPENAI.read("chat", raw, "application/json"))
    rest = continuing(call, Begun('say "ü"\n', 4, b"x"))
    asked = json.loads(rest.raw)
    assert asked.pop("messages") == [*json.loads(messages), {"role": "assistant", "content": 'say "ü"\n'}]
    assert asked == {
        "model": "m",
        "stream": True,
        "temperature": 1.5,
        "max_tokens": 5,
        "continue_final_message": True,
        "add_generation_prompt": False,
    }
    assert b"1.50" in rest.raw
    assert (rest.head.output_tokens_max, rest.head.begun is not None, rest.hedged) == (5, True, False)
    assert rest.input_tokens_estimate == call.input_tokens_estimate + 3
    assert rest.head.fields is not None
    assert bytes(rest.head.fields["max_tokens"]) == b"5"


def test_a_limit_that_is_reached_leaves_one_token() -> None:
    rest = continuing(chat(max_completion_tokens=3), Begun("abc", 7, b"x"))
    assert json.loads(rest.raw)["max_completion_tokens"] == 1
    assert rest.head.output_tokens_max == 1
    assert "max_tokens" not in json.loads(continuing(chat(), Begun("a", 1, b"x")).raw)


# --- how the rest is told --------------------------------------------------------------------------------------------

AFTER = begun(said("", role="assistant"), said("Hel"))
REST = [said("", SECOND, role="assistant"), said("lo", SECOND), said(" you", SECOND), said(None, SECOND, "stop")]


def test_the_rest_reads_on() -> None:
    passage = OPENAI.passage(resumed(AFTER), TARGET)
    assert isinstance(passage, SplicedPassage)
    one = FIRST | {"system_fingerprint": "f"}
    del one["object"]
    assert payloads(run(passage, [*REST, DONE])) == [
        one | {"object": "chat.completion.chunk", "choices": [choice], **mark}
        for choice, mark in [
            ({"index": 0, "delta": {"content": "lo"}, "finish_reason": None}, {"x_headgate": {"continued": TARGET.id}}),
            ({"index": 0, "delta": {"content": " you"}, "finish_reason": None}, {}),
            ({"index": 0, "delta": {}, "finish_reason": "stop"}, {}),
        ]
    ]
    assert (passage.finished, passage.terminal, passage.content) == (True, True, True)


def test_a_name_that_the_first_stream_did_not_have_is_not_given_to_it_later() -> None:
    after = begun(event({"id": "one", "choices": [{"delta": {"content": "a"}}]}))
    (chunk,) = payloads(run(OPENAI.passage(resumed(after), TARGET), [said("b", SECOND)]))
    assert (chunk["id"], "created" in chunk, "model" in chunk) == ("one", False, False)


def test_a_role_that_comes_with_text_loses_only_itself() -> None:
    (chunk,) = payloads(run(OPENAI.passage(resumed(AFTER), TARGET), [said("lo", SECOND, role="assistant")]))
    assert chunk["choices"] == [{"index": 0, "delta": {"content": "lo"}, "finish_reason": None}]


def test_an_answer_that_was_all_said_ends_at_once() -> None:
    out = run(OPENAI.passage(resumed(AFTER), TARGET), [REST[0], said(None, SECOND, "stop"), DONE])
    (chunk,) = payloads(out)
    assert chunk["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert chunk["x_headgate"] == {"continued": TARGET.id}
    assert out.endswith(DONE)


@pytest.mark.parametrize(
    ("reported", "shown"),
    [
        (usage(10, 5), usage(9, 6)),
        (usage(0, 5), usage(0, 5)),
        (
            usage(10, 5, prompt_tokens_details={"cached_tokens": 10, "x": 1}),
            usage(9, 6, prompt_tokens_details={"cached_tokens": 9, "x": 1}),
        ),
        ({"prompt_tokens": "10"}, {"prompt_tokens": "10"}),
    ],
)
def test_what_the_first_had_made_counts_as_output(reported: dict[str, object], shown: dict[str, object]) -> None:
    passage = OPENAI.passage(resumed(AFTER, stream_options={"include_usage": True}), TARGET)
    *_, last = payloads(run(passage, [*REST, event({**SECOND, "choices": [], "usage": reported}), DONE]))
    assert last["usage"] == shown


def test_the_bill_is_that_of_the_second_upstream_itself() -> None:
    passage = OPENAI.passage(resumed(AFTER), TARGET)
    run(passage, [*REST, event({**SECOND, "choices": [], "usage": usage(10, 5)}), DONE])
    assert passage.usage == Usage(input_uncached=10, output=5)


def test_an_end_for_want_of_money_has_the_names_and_the_sum() -> None:
    passage = OPENAI.passage(resumed(AFTER, stream_options={"include_usage": True}), TARGET)
    passage.feed(REST[1])
    end, last = payloads(passage.cut(Usage(input_uncached=10, output=5)))
    assert (end["id"], end["created"], end["model"]) == ("one", 1, "m-1")
    assert last["usage"] == usage(9, 6)


@pytest.mark.parametrize(
    ("after", "fault"), [(AFTER, ERROR_EVENT), (Begun(), ERROR_EVENT), (AFTER, b"data: {oops\n\n")]
)
def test_an_error_is_kept_back_where_another_may_go_on(after: Begun, fault: bytes) -> None:
    passage: Passage = OPENAI.passage(resumed(after), TARGET)
    out = passage.feed(said("a", SECOND) + fault + DONE)
    assert passage.fault is not None
    assert b"error" not in out
    assert b"[DONE]" not in out
    assert payloads(out)


# --- any split of the bytes ------------------------------------------------------------------------------------------

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@examples(200)
@given(st.lists(WORDS, min_size=1, max_size=6), st.lists(WORDS, max_size=6), ENDS, st.data())
def test_whatever_the_first_died_of_and_however_the_bytes_came_the_text_is_one(
    before: list[str], after: list[str], end: bytes, data: st.DataObject
) -> None:
    """The first stream is cut at any byte; the second says what is missing of the text, in pieces of any size."""
    words = [*before, *after]
    raw = said("", role="assistant") + b"".join(map(said, words))
    first = OPENAI.passage(resumed(Begun()), TARGET)
    transcript = Transcript()
    seen = b""
    cut = raw[: data.draw(st.integers(len(said("", role="assistant") + said(before[0])), len(raw)), "cut")]
    for piece in pieces(cut, data):
        out = first.feed(piece)
        transcript.add(out)
        seen += out
    known = transcript.begun()
    assert isinstance(known, Begun)
    assert text_of(seen) == known.text
    assert "".join(words).startswith(known.text)
    rest = "".join(words)[len(known.text) :]
    stream = said("", SECOND, role="assistant") + b"".join(said(char, SECOND) for char in rest)
    stream = (stream + said(None, SECOND, "stop") + b": x\n\n" + DONE).replace(b"\n", end)
    whole = run(OPENAI.passage(resumed(known), TARGET), [stream])
    assert run(OPENAI.passage(resumed(known), TARGET), pieces(stream, data)) == whole
    assert text_of(seen + whole) == "".join(words)
    assert (seen + whole).count(b'"role"') == 1
    assert {chunk["id"] for chunk in payloads(seen + whole)} == {"one"}


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_byte_by_byte_it_is_the_same(end: bytes) -> None:
    stream = b"".join([*REST, b": x\n\n", DONE]).replace(b"\n", end)
    one_by_one = [stream[at : at + 1] for at in range(len(stream))]
    whole = run(OPENAI.passage(resumed(AFTER), TARGET), [b"".join([*REST, b": x\n\n", DONE])])
    assert run(OPENAI.passage(resumed(AFTER), TARGET), one_by_one) == whole


def pieces(raw: bytes, data: st.DataObject) -> list[bytes]:
    at = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=12)) | {0, len(raw)})
    return [raw[start:end] for start, end in pairwise(at)]


def text_of(out: bytes) -> str:
    choices = [choice for chunk in payloads(out) for choice in chunk["choices"]]  # type: ignore[attr-defined]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
