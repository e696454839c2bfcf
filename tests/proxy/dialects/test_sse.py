from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.base import EVENT_BYTES_MAX
from proxy.dialects.sse import Splitter, fields_of
from proxy.errors import ProxyError
from tests.effort import examples

BYTES = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b"data: x", b"data:", b":c", b"id: \x00", "é".encode(), b"\xef\xbb\xbf"])
).map(b"".join)


def lines_of(raw: bytes) -> list[tuple[bytes, bytes]]:
    """The standard, word by word and slowly: (event name, data) of each dispatched event."""
    said, name, data = [], b"", None
    for line in raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]:
        if line == b"":
            if data is not None:
                said.append((name, data))
            name, data = b"", None
        elif line.startswith(b"data:"):
            value = line[5:].removeprefix(b" ")
            data = value if data is None else data + b"\n" + value
        elif line == b"data":
            data = b"" if data is None else data + b"\n"
    return said


@examples(120)
@given(BYTES, st.data())
def test_events_joined_again_are_the_stream_however_it_is_cut(raw: bytes, data: st.DataObject) -> None:
    at = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=8)) | {0, len(raw)})
    splitter = Splitter()
    events = [event for start, end in pairwise(at) for event in splitter.feed(raw[start:end])]
    assert b"".join(events) + splitter.close() == raw
    assert not splitter.held


@examples(120)
@given(BYTES, st.data())
def test_events_are_those_of_the_standard(raw: bytes, data: st.DataObject) -> None:
    raw = raw.replace(b"\xef\xbb\xbf", b"")
    cut = data.draw(st.integers(0, len(raw)))
    splitter = Splitter()
    events = [fields_of(event) for event in splitter.feed(raw[:cut]) + splitter.feed(raw[cut:])]
    has_data = [(name, said) for name, said in events if said]
    assert has_data == [(name, said) for name, said in lines_of(raw) if said]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (b"data: a\n\n", (b"", b"a")),
        (b"data:a\r\rdata", (b"", b"a\n")),
        (b"data:  a\ndata:b\r\n\r\n", (b"", b" a\nb")),
        (b"event: error\nid: 3\nretry: 5\ndata: x:y\n\n", (b"error", b"x:y")),
        (b": comment\n\n", (b"", b"")),
        (b"\xef\xbb\xbfdata: a\n\n", (b"", b"a")),
        (b" data: a\ndatas: b\n\n", (b"", b"")),
    ],
)
def test_an_event_says_what_its_lines_say(event: bytes, said: tuple[bytes, bytes]) -> None:
    assert fields_of(event) == said


def test_an_event_is_handed_out_at_its_blank_line_even_if_a_line_feed_may_follow() -> None:
    splitter = Splitter()
    assert splitter.feed(b"data: a\r\n") == []
    assert splitter.feed(b"\r") == [b"data: a\r\n\r"]
    assert splitter.feed(b"\ndata: b\n\n") == [b"\n", b"data: b\n\n"]


def test_a_carriage_return_alone_may_be_half_a_line_end() -> None:
    splitter = Splitter()
    assert splitter.feed(b"data: a\r") == []
    assert splitter.feed(b"\ndata: b\r\r") == [b"data: a\r\ndata: b\r\r"]


def test_an_event_that_comes_whole_is_not_copied() -> None:
    for raw in (b"data: a\n\n", b"event: x\r\ndata: a\r\n\r\n"):
        assert Splitter().feed(raw)[0] is raw


def test_a_million_empty_lines_are_one_piece() -> None:
    assert Splitter().feed(b"\n" * 1_000_000) == [b"\n" * 1_000_000]


def test_a_huge_event_in_tiny_pieces_is_searched_once() -> None:
    """Quadratic work would take a minute here."""
    splitter, piece = Splitter(), b"x" * 256
    for _ in range(3_000_000 // len(piece)):
        assert splitter.feed(piece) == []
    assert len(splitter.feed(b"\n\n")[0]) > 2_999_700


@pytest.mark.parametrize("tail", [b"", b"\n\n"])
def test_an_event_above_the_limit_is_refused(tail: bytes) -> None:
    with pytest.raises(ProxyError) as caught:
        Splitter().feed(b"data: " + b"x" * EVENT_BYTES_MAX + tail)
    assert caught.value.code == "upstream_broken"


def test_a_splitter_shows_what_it_holds() -> None:
    splitter = Splitter()
    splitter.feed(b"data")
    assert repr(splitter) == "Splitter(held=4 bytes)"
