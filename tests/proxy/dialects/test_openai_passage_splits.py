"""What holds for any stream, recorded or invented, and for any split of its bytes."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ProxyError
from proxy.types import Call, Endpoint, Target
from tests.effort import examples
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
    outcome,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "openai"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.in"))


def golden_call(name: str) -> Call:
    endpoint: Endpoint = "chat"
    for other in ("responses", "transcriptions", "completions"):
        if name.startswith(other):
            endpoint = other  # type: ignore[assignment]  # a literal out of the three above
    return chat(n=2) if name == "two_choices" else call(endpoint)


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_stream_passes_as_it_did(name: str) -> None:
    passage = OPENAI.passage(golden_call(name), TARGET)
    out, known = outcome(passage, [(GOLDEN / f"{name}.in").read_bytes()])
    assert isinstance(out, bytes)
    said = msgspec.json.format(msgspec.json.encode(known), indent=1) + b"\n"
    if os.environ.get("HEADGATE_GOLDEN"):
        (GOLDEN / f"{name}.out").write_bytes(out)
        (GOLDEN / f"{name}.json").write_bytes(said)
    assert out == (GOLDEN / f"{name}.out").read_bytes()
    assert said == (GOLDEN / f"{name}.json").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_byte_by_byte_a_recorded_stream_is_the_same(name: str) -> None:
    raw = (GOLDEN / f"{name}.in").read_bytes()
    one_by_one = [raw[at : at + 1] for at in range(len(raw))]
    call = golden_call(name)
    for target in (TARGET, SILENT):
        assert outcome(OPENAI.passage(call, target), one_by_one) == outcome(OPENAI.passage(call, target), [raw])


PIECES = st.sampled_from(
    [
        delta("", role="assistant"),
        delta("héllo 世界"),
        delta('say "usage" and [DONE] and error'),
        delta(None, finish="stop"),
        delta("b", index=1, finish="stop"),
        delta("tab", reasoning_content=None),
        USAGE_EVENT,
        event({"choices": [{"index": 0, "delta": {"content": "u"}}], "usage": USAGE}),
        event({"choices": [{"index": 0, "delta": {"content": "n"}, "finish_reason": None}], "usage": None}),
        ERROR_EVENT,
        b"event: error\ndata: boom\n\n",
        b'data: {"usage": tru\n\n',
        DONE,
        b": ping\n\n",
        b"id: 7\nretry: 5\n\n",
        b"data: 12\n\n",
        b"data\n\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"\xef\xbb\xbf",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@st.composite
def streams_and_cuts(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    raw = b"".join(piece.replace(b"\n", draw(ENDS)) for piece in draw(st.lists(PIECES, max_size=9)))
    at = sorted(draw(st.sets(st.integers(0, len(raw)), max_size=12)) | {0, len(raw)})
    return raw, [raw[start:end] for start, end in pairwise(at)]


@examples(200)
@given(streams_and_cuts(), st.sampled_from([TARGET, SILENT]), st.booleans())
def test_any_split_of_the_bytes_gives_the_same(sample: tuple[bytes, list[bytes]], target: Target, asked: bool) -> None:
    raw, pieces = sample
    call = chat(n=2, stream_options={"include_usage": asked})
    whole = outcome(OPENAI.passage(call, target), [raw])
    assert outcome(OPENAI.passage(call, target), pieces) == whole


@examples(200)
@given(streams_and_cuts())
def test_what_goes_out_is_a_subsequence_of_what_came_in(sample: tuple[bytes, list[bytes]]) -> None:
    raw, pieces = sample
    passage = OPENAI.passage(chat(n=2), TARGET)
    try:
        out = b"".join(map(passage.feed, pieces))
    except ProxyError:
        return
    if passage.fault is None:
        rest = iter(raw)
        assert all(byte in rest for byte in out)
