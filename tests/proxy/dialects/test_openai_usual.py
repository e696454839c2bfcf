"""What the narrow types take is what the general readers would have made of it; all else they leave alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects import openai_reply
from proxy.dialects.openai_passage import ChatPassage
from proxy.dialects.openai_text import GENERATED, TEXTS
from proxy.dialects.openai_usage import COUNT_MAX, usage_of
from proxy.dialects.openai_usual import Part, Said, usual_chunk, usual_reply
from proxy.errors import ProxyError
from tests.effort import examples
from tests.proxy.dialects.samples import DONE, TARGET, call, chat, delta, facts, outcome

ODD_SCALARS = (None, True, False, -1, 0, 7, 2.0, 1.5, 1e300, 10**20, COUNT_MAX, COUNT_MAX + 1, "", "x", "é🎉", "\ud800")
ODD_NESTED = ([], {}, [None], ["a", {"text": "b"}], {"content": "c"}, {"name": "n", "arguments": "{}"})
ODD = st.sampled_from((*ODD_SCALARS, *ODD_NESTED))
COUNTS = st.integers(0, 12)
TEXT = st.sampled_from(["", "a", "héllo", "世界", '"usage"', "\x00\n"])


def usually(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Nine times of ten: what a test tries has many parts, and one odd part is enough to be odd."""
    return st.integers(0, 9).flatmap(lambda draw: ODD if draw == 9 else strategy)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: usually(strategy) for name, strategy in fields.items()})


@st.composite
def usages(draw: st.DrawFn) -> dict[str, Any]:
    prompt, completion = draw(COUNTS), draw(COUNTS)
    made: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
    made["total_tokens"] = draw(usually(st.just(prompt + completion)))
    ins = some(cached_tokens=COUNTS, audio_tokens=st.just(0), text_tokens=COUNTS)
    outs = some(reasoning_tokens=COUNTS, audio_tokens=st.just(0), accepted_prediction_tokens=COUNTS)
    made |= draw(some(prompt_tokens_details=ins, completion_tokens_details=outs))
    return made | draw(st.sampled_from([{}, {}, {}, {"cost": 0.1}, {"cached_tokens": 3}, {"prompt_tokens": None}]))


PIECES = some(id=TEXT, index=COUNTS, name=TEXT, arguments=TEXT, text=TEXT, function=some(name=TEXT, arguments=TEXT))
SAID = dict.fromkeys(("role", "content", "refusal", "reasoning_content", "reasoning", "name"), TEXT)
MESSAGES = some(**SAID, tool_calls=st.lists(PIECES, max_size=2), audio=st.none(), summary=st.none(), delta=st.none())
REASONS = st.sampled_from([None, "stop", "length", ""])
CHOICES = some(index=COUNTS, message=MESSAGES, text=TEXT, finish_reason=REASONS, logprobs=ODD)
CHUNK_CHOICES = some(index=COUNTS, delta=MESSAGES, text=TEXT, finish_reason=REASONS, logprobs=ODD)


def wholes(choices: st.SearchStrategy[Any], kind: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda listed, more: listed | more,
        st.fixed_dictionaries({"choices": usually(st.lists(choices, max_size=2))}),
        some(
            object=st.just(kind),
            usage=usages(),
            model=TEXT,
            service_tier=TEXT,
            error=st.none(),
            x_groq=st.none(),
            created=ODD,
        ),
    )


@st.composite
def bodies(draw: st.DrawFn, choices: st.SearchStrategy[Any], kind: str) -> bytes:
    """JSON in any layout, at times with a name twice, at times damaged."""
    whole = draw(wholes(choices, kind))
    text = json.dumps(
        whole, separators=draw(st.sampled_from([(",", ":"), (", ", ": ")])), ensure_ascii=draw(st.booleans())
    )
    raw = text.encode("utf-8", "surrogatepass")
    harm = draw(st.integers(0, 11))
    if harm == 0:
        raw = b'{"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2},"choices":5,' + raw[1:]
    if harm == 1:
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(st.sampled_from([b"\xff", b"\r", b"\n", b" ", b"}", b"NaN", b"\\ud800"])) + raw[at:]
    return raw


def read(reader: Any, body: bytes) -> object:
    try:
        reply = reader(call(), body)
    except ProxyError as error:
        return error.code, error.message
    except ValueError:
        return "not JSON"
    return reply.usage, reply.text_bytes, reply.finish_reason, reply.tier


@examples(80)
@given(bodies(CHOICES, "chat.completion"))
def test_a_reply_is_read_the_same_either_way(body: bytes) -> None:
    assert read(openai_reply._read, body) == read(openai_reply._read_any, body)


class General(ChatPassage):
    __slots__ = ()

    def skim(self, event: bytes) -> bool | None:
        return None


@examples(80)
@given(st.lists(bodies(CHUNK_CHOICES, "chat.completion.chunk"), max_size=4), st.integers(1, 2), st.booleans())
def test_a_stream_is_read_the_same_either_way(chunks: list[bytes], n: int, asked: bool) -> None:
    of = chat(n=n, stream_options={"include_usage": asked})
    events = [b"data: " + chunk + b"\n\n" for chunk in chunks]
    assert outcome(ChatPassage(of, TARGET), [*events, DONE]) == outcome(General(of, TARGET), [*events, DONE])


@examples(80)
@given(usages())
def test_usage_is_the_same_either_way(reported: dict[str, Any]) -> None:
    whole = usual_reply(json.dumps({"choices": [], "usage": reported}).encode())
    usage = whole.usage.usage() if whole is not None and whole.usage is not None else None
    assert usage is None or usage == usage_of(reported)


USAGE = {
    "prompt_tokens": 412,
    "completion_tokens": 31,
    "total_tokens": 443,
    "prompt_tokens_details": {"cached_tokens": 128, "audio_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 7, "audio_tokens": 1, "accepted_prediction_tokens": 0},
}
CALLED = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_what_vendors_send_every_day_is_usual() -> None:
    message = {"role": "assistant", "content": "hé", "refusal": None, "annotations": [], "tool_calls": [CALLED]}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    whole = {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": USAGE}
    reply = openai_reply._usual(json.dumps(whole).encode())
    assert reply is not None and reply.text_bytes == 6 and reply.finish_reason == "stop"
    assert reply.usage == usage_of(USAGE) and reply.usage is not None and reply.usage.input_cached == 128
    assert usual_chunk(delta("", role="assistant", refusal=None)) is not None
    assert usual_chunk(delta(None, tool_calls=[CALLED])) is not None
    assert usual_chunk(b"data: %b\n\n" % json.dumps({"choices": [], "usage": USAGE}).encode()) is not None


@pytest.mark.parametrize(
    "usage",
    [
        USAGE | {"cost": 0.1},
        USAGE | {"total_tokens": 444},
        USAGE | {"total_tokens": None},
        USAGE | {"prompt_tokens": True, "total_tokens": 32},
        USAGE | {"prompt_tokens": 412.0},
        USAGE | {"completion_tokens": COUNT_MAX + 1},
        USAGE | {"prompt_tokens_details": {"cached_tokens": 413}},
        USAGE | {"completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 2}},
        USAGE | {"completion_tokens_details": {"video_tokens": 0}},
    ],
)
def test_unusual_usage_is_left_to_the_general_reader(usage: dict[str, Any]) -> None:
    assert openai_reply._usual(json.dumps({"choices": [], "usage": usage}).encode()) is None
    passage = ChatPassage(chat(), TARGET)
    assert passage.skim(b"data: %b\n\n" % json.dumps({"choices": [], "usage": usage}).encode()) is None
    assert facts(passage) == facts(ChatPassage(chat(), TARGET))


@pytest.mark.parametrize(
    "event",
    [
        b': ping\n\n',
        b'data: {"choices":[]}\r\n\r\n',
        b'data: {"choices":[]\ndata: }\n\n',
        b'event: error\ndata: {"choices":[]}\n\n',
        b'data: {"choices":[],"error":{}}\n\n',
        b'data: {"choices":[],"object":"error"}\n\n',
        b'data: {"choices":null}\n\n',
        b'data: {"choices":' + b"[" * 100_000 + b"\n\n",
    ],
)  # fmt: skip
def test_an_unusual_event_is_left_to_the_general_reader(event: bytes) -> None:
    assert usual_chunk(event) is None


def test_the_types_know_every_name_that_the_general_reader_looks_at() -> None:
    assert set(Said.__struct_fields__) == set(GENERATED)
    assert set(Part.__struct_fields__) == set(TEXTS)
