from __future__ import annotations

import io
from email.utils import parsedate_to_datetime
from http.client import HTTPResponse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.surfaces.wire import LAST_CHUNK, Headers, chunk, head

LENGTH = "Content-Length: 5"
CHUNKED = "Transfer-Encoding: chunked"
JSON: Headers = [("Content-Type", "application/json")]
BREAKS = ["\r\n", "\n", "\r", "\n\r", "\r\r", "\n\n", "\r\n\r\n", "\r\n ", "\r\n\t"]
LINE_ENDS_ELSEWHERE = ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]  # to Python, not to HTTP


class Bytes:
    """A socket from which a reply is read: all that the standard library's own reader asks of one."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def makefile(self, mode: str) -> io.BytesIO:
        return self._file


def read(data: bytes) -> HTTPResponse:
    """The reply as another implementation reads it."""
    reply = HTTPResponse(Bytes(data))  # type: ignore[arg-type]  # nothing but `makefile` is used
    reply.begin()
    return reply


def lines(headers: Headers = JSON, *, framing: str = LENGTH, keep_alive: bool = True, chunks: bool = True) -> list[str]:
    block = head(200, headers, framing=framing, keep_alive=keep_alive, chunks=chunks)
    assert block.endswith(b"\r\n\r\n")
    return block.removesuffix(b"\r\n\r\n").decode("utf-8", "surrogateescape").split("\r\n")


# --- the status line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (200, "200 OK"),
        (404, "404 Not Found"),
        (429, "429 Too Many Requests"),
        (431, "431 Request Header Fields Too Large"),
        (504, "504 Gateway Timeout"),
        (499, "499 Unknown"),
        (529, "529 Unknown"),
        (999, "999 Unknown"),
    ],
)
@pytest.mark.parametrize(("chunks", "version"), [(True, "HTTP/1.1"), (False, "HTTP/1.0")])
def test_the_status_line_speaks_the_clients_version(status: int, line: str, chunks: bool, version: str) -> None:
    block = head(status, JSON, framing=LENGTH, keep_alive=True, chunks=chunks)
    assert block.startswith(f"{version} {line}\r\n".encode())
    assert read(block + b"hello").status == status


# --- headers ---------------------------------------------------------------------------------------------------------


def test_headers_keep_their_order_and_their_repetitions() -> None:
    given: Headers = [("B", "2"), ("A", "1"), ("b", "3"), ("Empty", "")]
    assert lines(given)[1:5] == ["B: 2", "A: 1", "b: 3", "Empty: "]


def test_a_reply_has_a_date_and_says_who_sent_it() -> None:
    reply = read(head(200, [], framing=LENGTH, keep_alive=True, chunks=True) + b"hello")
    assert reply.headers.get_all("Server") == ["headgate"]
    (date,) = reply.headers.get_all("Date", [])
    assert date.endswith(" GMT")
    assert parsedate_to_datetime(date).tzinfo is not None


@pytest.mark.parametrize("name", ["Zürich", "東京", "🎉", "name\udcff"])
def test_names_beyond_latin_leave_as_the_bytes_they_came_as(name: str) -> None:
    block = head(200, [("x-headgate-agent", name)], framing=LENGTH, keep_alive=True, chunks=True)
    assert b"\r\nx-headgate-agent: " + name.encode("utf-8", "surrogateescape") + b"\r\n" in block


# --- where a body ends, and the connection ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "keep_alive", "connection"),
    [
        (True, True, []),  # HTTP/1.1 keeps a connection unless told otherwise
        (True, False, ["Connection: close"]),
        (False, True, ["Connection: keep-alive"]),
        (False, False, []),  # HTTP/1.0 closes it unless told otherwise
    ],
)
@pytest.mark.parametrize("framing", [LENGTH, CHUNKED, ""])
def test_a_connection_is_mentioned_only_where_the_version_says_otherwise(
    chunks: bool, keep_alive: bool, connection: list[str], framing: str
) -> None:
    found = lines(framing=framing, keep_alive=keep_alive, chunks=chunks)
    assert [line for line in found if line.startswith("Connection:")] == connection
    assert [line for line in found if line in (LENGTH, CHUNKED)] == ([framing] if framing else [])
    assert "" not in found  # no line of the head is empty: that would be its end


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("chunks", [True, False])
def test_a_client_reads_a_whole_reply_to_its_length_and_knows_what_becomes_of_the_connection(
    chunks: bool, keep_alive: bool
) -> None:
    reply = read(head(200, JSON, framing=LENGTH, keep_alive=keep_alive, chunks=chunks) + b"helloHTTP/1.1 200 OK")
    assert reply.will_close is not keep_alive
    assert reply.read() == b"hello"


def test_without_framing_the_body_ends_with_the_connection() -> None:
    reply = read(head(200, JSON, framing="", keep_alive=False, chunks=False) + b"data: 1\n\ndata: 2\n\n")
    assert reply.will_close
    assert reply.read() == b"data: 1\n\ndata: 2\n\n"


# --- injection -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line_break", BREAKS)
@pytest.mark.parametrize("text", ["a{}b", "{}b", "a{}", "{}", "a{}Set-Cookie: stolen=1"])
@pytest.mark.parametrize("where", ["name", "value", "framing"])
def test_a_line_break_never_leaves(line_break: str, text: str, where: str) -> None:
    said = text.format(line_break)
    headers: Headers = [("before", "x"), (said, "x") if where == "name" else ("x", said), ("after", "x")]
    clean = where == "framing"
    with pytest.raises(ValueError, match="line break"):
        head(200, JSON if clean else headers, framing=said if clean else LENGTH, keep_alive=True, chunks=True)


def test_halves_of_a_line_break_in_two_headers_do_not_leave_either() -> None:
    with pytest.raises(ValueError, match="line break"):
        head(200, [("a", "x\r"), ("\nb", "x")], framing=LENGTH, keep_alive=True, chunks=True)


@pytest.mark.parametrize("surrogate", [0xDC0A, 0xDC0D, 0xD80A, 0xD800])
def test_no_escaped_byte_becomes_a_line_break(surrogate: int) -> None:
    with pytest.raises(ValueError):
        head(200, [("a", f"x{chr(surrogate)}y: z")], framing=LENGTH, keep_alive=True, chunks=True)


@pytest.mark.parametrize("separator", LINE_ENDS_ELSEWHERE)
def test_what_only_others_take_for_a_line_break_breaks_no_line(separator: str) -> None:
    assert f"a: x{separator}y" in lines([("a", f"x{separator}y")])


ANY = st.text(st.one_of(st.sampled_from("\r\n:a \x85\udc0a"), st.characters()), max_size=8)


@given(st.lists(st.tuples(ANY, ANY), max_size=4), st.booleans())
def test_a_head_has_one_line_for_each_header_or_is_refused(headers: Headers, keep_alive: bool) -> None:
    try:
        block = head(200, headers, framing=LENGTH, keep_alive=keep_alive, chunks=True)
    except ValueError:
        assert any(set("\r\n") & set(name + value) or not _encodes(name + value) for name, value in headers)
        return
    expected = 4 + len(headers) + (not keep_alive)  # status, date, server, framing
    assert block.count(b"\r") == block.count(b"\n") == block.count(b"\r\n") == expected + 1
    assert len(block.removesuffix(b"\r\n\r\n").split(b"\r\n")) == expected


def _encodes(text: str) -> bool:
    return not any("\ud800" <= character <= "\udc7f" or "\udd00" <= character <= "\udfff" for character in text)


# --- chunks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "framed"),
    [
        (b"a", b"1\r\na\r\n"),
        (b"0123456789", b"a\r\n0123456789\r\n"),
        (b"\r\n", b"2\r\n\r\n\r\n"),
        (b"0\r\n\r\n", b"5\r\n0\r\n\r\n\r\n"),
        (b"%d %b", b"5\r\n%d %b\r\n"),
        (b"\x00\xff", b"2\r\n\x00\xff\r\n"),
    ],
)
def test_a_chunk_has_its_length_in_hexadecimal_in_front(data: bytes, framed: bytes) -> None:
    assert chunk(data) == framed


@pytest.mark.parametrize("size", [15, 16, 255, 256, 65_536, 1_048_576])
def test_a_chunk_of_any_size_is_framed_by_its_size(size: int) -> None:
    assert chunk(b"x" * size) == f"{size:x}\r\n".encode() + b"x" * size + b"\r\n"


def test_a_chunk_of_nothing_is_nothing() -> None:
    """A chunk of no bytes would be the last one."""
    assert chunk(b"") == b""


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
def test_a_client_reads_the_chunks_as_the_body_they_were_cut_from(parts: list[bytes]) -> None:
    start = head(200, JSON, framing=CHUNKED, keep_alive=True, chunks=True)
    reply = read(start + b"".join(map(chunk, parts)) + LAST_CHUNK)
    assert reply.read() == b"".join(parts)
    assert not reply.will_close
