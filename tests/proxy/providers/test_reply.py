"""Bytes in, replies out: what is refused, what is bounded, and that no cut of the bytes changes anything."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.providers.fields import Fields
from proxy.providers.reply import BARREN_BYTES_MAX, HEADER_LINE_BYTES_MAX, HEADER_LINES_MAX, Replies

OK = b"HTTP/1.1 200 OK\r\n"
TWO = b"Content-Length: 2\r\n\r\nok"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
Result = tuple[int, dict[str, str], bytes, bool, bool, str]


def read(*pieces: bytes, closed: bool = False) -> Result:
    """As a connection would: nothing is fed after a fault."""
    replies = Replies()
    for piece in pieces:
        if not replies.fault:
            replies.feed(piece)
    if closed:
        replies.end()
        replies.cut()
    headers = dict(replies.headers.items())
    return replies.status, headers, replies.take(), replies.ended, replies.reusable, replies.fault


def one_by_one(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


# --- what cannot be a reply

NO_REPLY = {
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\n\r\n",
    "HTTP/2 by name": b"HTTP/2.0 200 OK\r\n" + TWO,
    "HTTP/0.9 by name": b"HTTP/0.9 200 OK\r\n" + TWO,
    "status 000": b"HTTP/1.1 000 OK\r\n" + TWO,
    "status 999": b"HTTP/1.1 999 OK\r\n" + TWO,
    "status of two digits": b"HTTP/1.1 20 OK\r\n" + TWO,
    "folded value": OK + b"X: a\r\n b\r\n" + TWO,
    "folded by a tab": OK + b"X: a\r\n\tb\r\n" + TWO,
    "line feed alone": OK + b"X: a\n" + TWO,
    "line feed alone behind the status": b"HTTP/1.1 200 OK\n" + TWO,
    "line feed alone at the end": OK + b"Content-Length: 2\r\n\nok",
    "carriage return alone": OK + b"X: a\rContent-Length: 3\r\n" + TWO,
    "carriage return in the status": b"HTTP/1.1 200 O\rK\r\n" + TWO,
    "NUL in a value": OK + b"X: a\0b\r\n" + TWO,
    "control byte in a value": OK + b"X: a\x01b\r\n" + TWO,
    "NUL in a name": OK + b"X\0: a\r\n" + TWO,
    "byte beyond ASCII in a name": OK + b"X\xe9: a\r\n" + TWO,
    "space before the colon": OK + b"Content-Length : 2\r\n\r\nok",
    "no name": OK + b": a\r\n" + TWO,
    "no colon": OK + b"Xabc\r\n" + TWO,
    "differing lengths": OK + b"Content-Length: 3\r\n" + TWO,
    "list of lengths": OK + b"Content-Length: 2, 2\r\n\r\nok",
    "signed length": OK + b"Content-Length: +2\r\n\r\nok",
    "hexadecimal length": OK + b"Content-Length: 0x2\r\n\r\nok",
    "empty length": OK + b"Content-Length: \r\n\r\nok",
    "length beyond 64 bits": OK + b"Content-Length: 99999999999999999999\r\n\r\nok",
    "length and chunks": OK + b"Content-Length: 2\r\n" + CHUNKED + b"0\r\n\r\n",
    "chunks and length": OK + b"Transfer-Encoding: chunked\r\n" + TWO,
    "coded chunks": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding without chunks": OK + b"Transfer-Encoding: gzip\r\n\r\nok",
    "chunks, then coded": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\nok",
    "coded, then chunks": OK + b"transfer-encoding: gzip\r\n" + CHUNKED + b"0\r\n\r\n",
    "chunks, twice": OK + b"transfer-encoding: chunked\r\n" + CHUNKED + b"0\r\n\r\n",
    "something like chunks": OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "compressed": OK + b"Content-Encoding: gzip\r\n" + TWO,
    "compressed behind plain": OK + b"content-encoding: identity\r\nContent-Encoding: gzip\r\n" + TWO,
    "switched protocols": b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "nine interim heads": b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + OK + TWO,
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "reset content": b"HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n",
    "part of it": b"HTTP/1.1 206 Partial\r\n" + TWO,
    "not modified": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "too many lines": OK + b"X: a\r\n" * HEADER_LINES_MAX + TWO,
    "a long line": OK + b"X: " + b"a" * HEADER_LINE_BYTES_MAX + b"\r\n" + TWO,
    "a long name": OK + b"X" * (HEADER_LINE_BYTES_MAX + 1) + b": a\r\n" + TWO,
    "long lines": OK + (b"X: " + b"a" * 8_000 + b"\r\n") * 9 + TWO,
    "a line without end": OK + b"X: " + b"a" * BARREN_BYTES_MAX,
}


@pytest.mark.parametrize("data", NO_REPLY.values(), ids=NO_REPLY.keys())
def test_what_cannot_begin_a_reply_never_does(data: bytes) -> None:
    whole, dripped = read(data), read(*one_by_one(data))
    assert whole == dripped
    status, headers, body, ended, reusable, fault = whole
    assert (status, headers, body, ended, reusable) == (0, {}, b"", False, False) and fault


BROKEN_BODIES = {
    "a chunk size that is none": b"zz\r\n",
    "a negative size": b"-1\r\n",
    "a size beyond 64 bits": b"fffffffffffffffff\r\n",
    "a prefixed size": b"0x2\r\nok\r\n",
    "no size": b"\r\n",
    "a line feed behind the size": b"2\nok\r\n",
    "a line feed behind the data": b"2\r\nok\n",
    "more data than said": b"2\r\nokX\r\n",
    "a control byte in an extension": b"2;a=\0\r\nok\r\n",
    "an extension without end": b"2;" + b"a" * BARREN_BYTES_MAX,
    "a size without end": b"0" * (BARREN_BYTES_MAX + 1),
    "trailers without end": b"0\r\n" + b"X: a\r\n" * (BARREN_BYTES_MAX // 6 + 1),
    "a trailer without end": b"0\r\nX: " + b"a" * BARREN_BYTES_MAX,
    "a length behind chunks": b"0\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.parametrize("rest", BROKEN_BODIES.values(), ids=BROKEN_BODIES.keys())
def test_what_was_whole_before_a_broken_chunk_is_handed_out(rest: bytes) -> None:
    data = OK + CHUNKED + b"4\r\ngood\r\n"
    status, _, body, ended, reusable, fault = read(data, rest)
    assert (status, body[:4], ended, reusable) == (200, b"good", False, False) and fault
    assert read(data, *one_by_one(rest))[2:] == (body, ended, reusable, fault)


# --- what can


@pytest.mark.parametrize(
    ("data", "reusable"),
    [
        (OK + TWO, True),
        (OK + CHUNKED + b"2\r\nok\r\n0\r\n\r\n", True),
        (OK + CHUNKED + b"1;a=b;c\r\no\r\n1  \r\nk\r\n0\r\nX-Checksum: 1\r\n\r\n", True),
        (b"HTTP/1.1 200\r\n" + TWO, True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 8 + OK + TWO, True),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK + TWO, True),
        (OK + b"X: a\r\n" * (HEADER_LINES_MAX - 1) + TWO, True),
        (OK + b"Content-Encoding: Identity\r\n" + TWO, True),
        (OK + b"Connection: close\r\n" + TWO, False),
        (OK + b"Connection: x, Close\r\n" + TWO, False),
        (OK + b"Connection: keep-alive\r\nConnection: close\r\n" + TWO, False),
        (b"HTTP/1.0 200 OK\r\n" + TWO, False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + TWO, True),
        (OK + TWO + b"H", False),
        (OK + TWO + OK + TWO, False),
        (OK + TWO + b"junk", False),
    ],
)
def test_a_reply_ends_where_it_says_and_tells_whether_another_may_follow(data: bytes, reusable: bool) -> None:
    whole = read(data)
    assert (whole[0], *whole[2:]) == (200, b"ok", True, reusable, "")
    assert read(*one_by_one(data)) == whole


def test_a_body_without_length_ends_with_a_clean_end_only() -> None:
    data = OK + b"\r\nok"
    assert read(data, closed=True)[2:] == (b"ok", True, False, "")
    cut = Replies()
    cut.feed(data)
    cut.cut()
    assert (cut.ended, cut.fault) == (False, "cut its reply short")


@pytest.mark.parametrize("data", [OK + b"Content-Length: 3\r\n\r\nok", OK + CHUNKED + b"2\r\nok\r\n"])
def test_a_clean_end_does_not_end_what_says_its_length(data: bytes) -> None:
    assert read(data, closed=True)[2:] == (b"ok", False, False, "cut its reply short")


def test_one_connection_carries_replies_one_after_another() -> None:
    replies = Replies()
    for number in (b"1", b"2", b"3"):
        replies.expect()
        replies.feed(OK + b"X-Number: " + number + b"\r\n" + TWO)
        assert (replies.headers["x-number"].encode(), replies.take(), replies.reusable) == (number, b"ok", True)


def test_trailers_are_no_fields_of_the_next_reply() -> None:
    replies = Replies()
    replies.feed(OK + CHUNKED + b"0\r\nX-Of-Another: 1\r\nContent-Encoding: gzip\r\n\r\n")
    assert replies.ended and replies.reusable and dict(replies.headers) == {"transfer-encoding": "chunked"}
    replies.expect()
    replies.feed(OK + TWO)
    assert (replies.fault, dict(replies.headers)) == ("", {"content-length": "2"})


def test_fields_are_found_in_any_case_and_the_first_of_several_counts() -> None:
    _, headers, *_ = read(OK + b"RETRY-After: 7 \t\r\nretry-after: 8\r\nX: \xc3\xa9\xff\r\nY:\r\n" + TWO)
    assert headers == {"retry-after": "7", "x": "é\udcff", "y": "", "content-length": "2"}
    fields = Fields(headers)
    assert fields["Retry-AFTER"] == fields.get("RETRY-AFTER") == "7" and "x" in fields and len(fields) == 4
    assert fields.get("Content-Type", "") == "" and list(fields) == list(headers)


def test_taking_empties() -> None:
    replies = Replies()
    replies.feed(OK + b"Content-Length: 4\r\n\r\nab")
    assert (replies.held, replies.take(), replies.held) == (2, b"ab", 0)
    replies.feed(b"c")
    replies.feed(b"d")
    assert (replies.take(), replies.ended, replies.fault) == (b"cd", True, "")


# --- however it is cut

NAMES = st.sampled_from([b"Content-Type", b"x-request-id", b"X-RateLimit-Reset", b"Set-Cookie", b"Connection"])
VALUES = st.sampled_from([b"", b"close", b"keep-alive", b"text/event-stream; charset=utf-8", b"a: b", b"\xc3\xa9"])
HEADS = st.builds(
    lambda version, status, fields: (
        b"HTTP/1." + version + b" " + status + b"\r\n" + b"".join(name + b": " + v + b"\r\n" for name, v in fields)
    ),
    st.sampled_from([b"0", b"1"]),
    st.sampled_from([b"200 OK", b"429 Too Many Requests", b"500"]),
    st.lists(st.tuples(NAMES, VALUES), max_size=4),
)
BODIES = st.lists(st.binary(min_size=1, max_size=20) | st.just(b"data: {}\r\n\r\n"), max_size=4)


def _of_length(parts: list[bytes]) -> bytes:
    body = b"".join(parts)
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def _in_chunks(parts: list[bytes]) -> bytes:
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
    return CHUNKED + b"".join(chunks) + b"0\r\n\r\n"


def _with_trailers(parts: list[bytes]) -> bytes:
    return _in_chunks(parts)[:-2] + b"X-Checksum: 1\r\nContent-Type: text/plain\r\n\r\n"


def _until_the_end(parts: list[bytes]) -> bytes:
    return b"\r\n" + b"".join(parts)


REPLIES = st.builds(
    lambda interim, head, frame, parts, rest: interim + head + frame(parts) + rest,
    st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" * 2]),
    HEADS,
    st.sampled_from([_of_length, _in_chunks, _with_trailers, _until_the_end]),
    BODIES,
    st.sampled_from([b"", b"", b"H", b"HTTP/1.1 200 OK\r\n\r\n", b"\0"]),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(REPLIES))
    if draw(st.booleans()):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.sampled_from(b"\r\n\0 :;0fX\xff"))
    return bytes(data[: draw(st.integers(1, len(data)))]) if draw(st.booleans()) else bytes(data)


@given(data=damaged(), cuts=st.lists(st.integers(0, 400), max_size=8), closed=st.booleans())
def test_no_cut_of_the_bytes_changes_a_reply(data: bytes, cuts: list[int], closed: bool) -> None:
    ends = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(ends) if start < end]
    whole = read(data, closed=closed)
    assert read(*pieces, closed=closed) == whole
    assert read(*one_by_one(data), closed=closed) == whole


FRAMES = st.sampled_from([_of_length, _in_chunks, _with_trailers])
FOLLOWED = st.builds(lambda frame, parts: OK + b"X-First: 1\r\n" + frame(parts), FRAMES, BODIES)


@given(data=FOLLOWED, following=REPLIES)
def test_a_reply_is_the_same_whatever_came_before_it(data: bytes, following: bytes) -> None:
    replies = Replies()
    replies.feed(data)
    replies.take()
    assert replies.reusable
    replies.expect()
    replies.feed(following)
    after = dict(replies.headers.items()), replies.take()
    assert (replies.status, *after, replies.ended, replies.reusable, replies.fault) == read(following)
