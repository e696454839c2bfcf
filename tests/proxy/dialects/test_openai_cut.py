"""The end that the gate writes belongs to the stream, is one that SDKs know, and says that it is ours."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import structs

from proxy.dialects.openai_cut import MARK, chunks_end, response_end
from proxy.types import Endpoint, Usage
from tests.proxy.dialects.samples import OPENAI, TARGET, call, chat, delta, event

MADE = Usage(input_uncached=7, output=30)


def payloads(data: bytes) -> list[dict[str, object]]:
    lines = [line[6:] for line in data.split(b"\n") if line.startswith(b"data: {")]
    return [msgspec.json.decode(line, type=dict[str, object]) for line in lines]


def test_every_choice_that_has_not_ended_gets_its_reason() -> None:
    passage = OPENAI.passage(chat(n=3), TARGET)
    passage.feed(delta("", role="assistant") + delta("a") + delta(None, index=1, finish="stop"))
    end = passage.cut(MADE)
    assert end.endswith(b"\n\ndata: [DONE]\n\n")
    chunks = payloads(end)
    assert [(c["index"], c["finish_reason"]) for p in chunks for c in p["choices"]] == [(0, "length"), (2, "length")]  # type: ignore[attr-defined]
    assert all(chunk["x_headgate"] == MARK for chunk in chunks)


def test_the_names_are_those_of_the_streams_first_event() -> None:
    opening = event({"id": "i", "object": "o", "created": 3, "model": "m", "choices": [], "x": 1})
    (chunk,) = payloads(chunks_end(chat(), opening, open_choices=[0], usage=MADE))
    assert {name: chunk[name] for name in ("id", "object", "created", "model")} == {
        "id": "i",
        "object": "o",
        "created": 3,
        "model": "m",
    }
    assert "x" not in chunk


@pytest.mark.parametrize("opening", [b"", b"data: [1]\n\n", b"data: {\n\n"])
def test_a_stream_without_a_readable_first_event_still_ends(opening: bytes) -> None:
    (chunk,) = payloads(chunks_end(chat(), opening, open_choices=[0], usage=MADE))
    assert chunk["x_headgate"] == MARK


def test_the_usage_is_told_to_those_who_asked() -> None:
    asked = structs.replace(chat(), head=structs.replace(chat().head, include_usage=True))
    *_, last = payloads(chunks_end(asked, b"", open_choices=[0], usage=MADE))
    assert (last["choices"], last["usage"]) == ([], {"prompt_tokens": 7, "completion_tokens": 30, "total_tokens": 37})


def test_completions_end_in_their_own_form() -> None:
    (chunk,) = payloads(chunks_end(call("completions"), b"", open_choices=[0], usage=MADE))
    assert chunk["choices"] == [{"index": 0, "text": "", "logprobs": None, "finish_reason": "length"}]


def test_a_response_is_incomplete() -> None:
    passage = OPENAI.passage(call("responses"), TARGET)
    begun = (
        b'event: response.created\ndata: {"type":"response.created","response":{"id":"r","status":"in_progress"}}\n\n'
    )
    passage.feed(begun)
    end = passage.cut(MADE)
    assert end.startswith(b"event: response.incomplete\ndata: {")
    (told,) = payloads(end)
    assert told["x_headgate"] == MARK
    response = told["response"]
    assert isinstance(response, dict)
    assert (response["id"], response["status"]) == ("r", "incomplete")
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["usage"]["total_tokens"] == 37
    assert payloads(response_end(b"", MADE))


@pytest.mark.parametrize("endpoint", ["speech", "images"])
def test_what_is_no_text_has_no_end_before_its_own(endpoint: Endpoint) -> None:
    assert OPENAI.passage(call(endpoint), TARGET).cut(MADE) == b""
