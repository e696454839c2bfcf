"""What is a request and what is refused. Two readers that disagree on where a request ends are how one is smuggled past
the other, so whatever could be read in two ways is refused here, or shown to be harmless."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.surfaces.parser import RequestParser
from proxy.surfaces.request import Request
from tests.effort import examples

HEAD_MAX, HEADERS_MAX = 16 * 1024, 64
POST = b"POST /v1/x HTTP/1.1\r\nHost: gate\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: gate\r\n\r\n"

Seen = tuple[str, str, dict[str, str], bytes, bool]


def new_parser() -> RequestParser:
    return RequestParser(HEAD_MAX, HEADERS_MAX)


def seen(request: Request) -> Seen:
    return request.method, request.target, request.headers, request.body.data(), request.body.complete


def read(*pieces: bytes) -> tuple[list[Request], int | None]:
    """The requests, and the status of what follows them if that is no request."""
    parser = new_parser()
    requests = [request for piece in pieces for request in parser.feed(piece)]
    return requests, parser.refusal.status if parser.refusal else None


def only(*pieces: bytes) -> Request:
    (request,), refused = read(*pieces)
    assert refused is None
    return request


def with_fields(*fields: bytes, body: bytes = b"") -> bytes:
    return POST + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


# --- requests --------------------------------------------------------------------------------------------------------


def test_a_request_is_method_target_headers_and_body() -> None:
    request = only(with_fields(b"X-One: 1", b"Content-Length: 5", body=b"hello"))
    headers = {"host": "gate", "x-one": "1", "content-length": "5"}
    assert seen(request) == ("POST", "/v1/x", headers, b"hello", True)
    assert (request.chunks, request.keep_alive) == (True, True)


def test_of_a_repeated_header_the_first_counts() -> None:
    assert only(with_fields(b"X-Run: first", b"x-run: second")).headers["x-run"] == "first"


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        (b"plain", "plain"),
        (b"", ""),
        (b" \t around \t ", "around"),
        ("Zürich".encode(), "Zürich"),
        (b"Z\xfcrich", "Z\udcfcrich"),  # Latin-1: kept as the bytes they came as
        (b"in\tside", "in\tside"),
    ],
)
def test_a_value_is_utf8_or_the_bytes_it_came_as(sent: bytes, value: str) -> None:
    assert only(with_fields(b"X-Name:" + sent)).headers["x-name"] == value


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: keep-alive, close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive\r\n", True),
    ],
)
def test_a_connection_is_kept_as_its_version_has_it(version: bytes, connection: bytes, keep_alive: bool) -> None:
    request = only(b"GET / HTTP/" + version + b"\r\nHost: g\r\n" + connection + b"\r\n")
    assert (request.keep_alive, request.chunks) == (keep_alive, version == b"1.1")


def test_before_http_1_1_no_host_is_asked_for() -> None:
    assert only(b"GET / HTTP/1.0\r\n\r\n").headers == {}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_every_method_is_read_and_its_path_decides(method: str) -> None:
    assert only(f"{method} /a?b=c HTTP/1.1\r\nHost: g\r\n\r\n".encode()).method == method


@pytest.mark.parametrize("target", ["http://elsewhere/v1/x", "*", "//elsewhere/x", "/../x", "/%2e%2e/x", "/x#y"])
def test_a_target_is_handed_on_as_it_came(target: str) -> None:
    """There is one host here and no file system: whatever is not one of our paths is a 404."""
    assert only(f"GET {target} HTTP/1.1\r\nHost: g\r\n\r\n".encode()).target == target


def test_requests_that_come_together_are_read_one_after_another() -> None:
    first = with_fields(b"Content-Length: 5", body=b"hello")
    chunked = with_fields(b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    requests, refused = read(first + b"\r\n" + chunked + NEXT)
    assert refused is None
    assert [(request.target, request.body.data()) for request in requests] == [
        ("/v1/x", b"hello"),
        ("/v1/x", b"abcde"),
        ("/next", b""),
    ]


def test_a_trailer_adds_nothing_to_its_request_nor_to_the_next_one() -> None:
    body = b"3\r\nabc\r\n0\r\nX-Headgate-Agent: forged\r\nAuthorization: Bearer forged\r\n\r\n"
    requests, refused = read(with_fields(b"Transfer-Encoding: chunked", body=body) + NEXT)
    assert refused is None
    assert [sorted(request.headers) for request in requests] == [["host", "transfer-encoding"], ["host"]]


def test_a_body_grows_while_it_comes() -> None:
    parser = new_parser()
    (request,) = parser.feed(with_fields(b"Content-Length: 6", body=b"abc"))
    assert (request.body.size, request.body.complete, parser.body is request.body) == (3, False, True)
    assert parser.feed(b"def" + NEXT)[0].target == "/next"
    assert (request.body.data(), request.body.complete, parser.body) == (b"abcdef", True, None)


SAMPLES = (
    with_fields(b"X-One: 1", b"Content-Length: 11", body=b"hello world"),
    with_fields(b"Transfer-Encoding: chunked", body=b"3;a=b\r\nabc\r\na\r\n0123456789\r\n0\r\nX: y\r\n\r\n"),
    with_fields(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 3", body=b"abc"),
    NEXT,
    b"\r\n" + NEXT,
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
)


@examples(150)
@given(st.lists(st.sampled_from(SAMPLES), min_size=1, max_size=4), st.lists(st.integers(0, 600), max_size=12))
def test_how_the_bytes_are_cut_changes_nothing(samples: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(samples)
    edges = [0, *sorted(cut for cut in cuts if cut < len(wire)), len(wire)]
    pieces = [wire[start:end] for start, end in pairwise(edges)]
    whole, refused = read(wire)
    cut, also_refused = read(*pieces)
    assert list(map(seen, whole)) == list(map(seen, cut))
    assert len(whole) == len(samples)
    assert (refused, also_refused) == (None, None)


# --- offers to upgrade -----------------------------------------------------------------------------------------------


def test_an_offer_to_upgrade_is_not_taken_and_its_body_not_lost() -> None:
    """Java's client offers HTTP/2 with its first request, whatever that is."""
    fields = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEA", b"X: Z\xfc")
    length = with_fields(*fields, b"Content-Length: 5", body=b"hello")
    chunked = with_fields(*fields, b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n")
    for wire in (length, chunked, length + chunked + NEXT):
        requests, refused = read(wire)
        assert refused is None
        assert {request.body.data() for request in requests} <= {b"hello", b""}
        assert seen(requests[0])[0::3] == ("POST", b"hello")
        assert "upgrade" not in requests[0].headers
        assert requests[0].headers["x"] == "Z\udcfc"
    assert len(requests) == 3


def test_an_offer_does_not_soften_any_rule() -> None:
    fields = (b"Connection: Upgrade", b"Upgrade: h2c")
    for rule in (b"Transfer-Encoding: gzip, chunked", b"Host: other"):
        assert read(with_fields(*fields, rule))[1] == 400
    assert read(b"POST / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n") == ([], 400)


# --- what is refused -------------------------------------------------------------------------------------------------

CHUNKED = b"Transfer-Encoding: chunked"
NO_REQUEST = {
    "length and coding": with_fields(b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n"),
    "coding and length": with_fields(CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n"),
    "two lengths": with_fields(b"Content-Length: 5", b"Content-Length: 6", body=b"hello"),
    "twice the same length": with_fields(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
    "lengths in a list": with_fields(b"Content-Length: 5, 5", body=b"hello"),
    "a length with a sign": with_fields(b"Content-Length: +5", body=b"hello"),
    "a negative length": with_fields(b"Content-Length: -5"),
    "a length of two numbers": with_fields(b"Content-Length: 5 5", body=b"hello"),
    "a length in hexadecimal": with_fields(b"Content-Length: 0x5", body=b"hello"),
    "a length beyond all numbers": with_fields(b"Content-Length: 99999999999999999999999"),
    "an empty length": with_fields(b"Content-Length:"),
    "another coding": with_fields(b"Transfer-Encoding: gzip"),
    "another coding before chunked": with_fields(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "another coding after chunked": with_fields(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
    "identity": with_fields(b"Transfer-Encoding: identity"),
    "a coding like chunked": with_fields(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "chunked behind a control character": with_fields(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "chunked in quotes": with_fields(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"),
    "chunked twice in a list": with_fields(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "chunked twice": with_fields(CHUNKED, CHUNKED, body=b"0\r\n\r\n"),
    "chunked and then identity": with_fields(CHUNKED, b"Transfer-Encoding: identity", body=b"0\r\n\r\n"),
    "an empty coding": with_fields(b"Transfer-Encoding:"),
    "chunks before HTTP/1.1": b"POST / HTTP/1.0\r\n" + CHUNKED + b"\r\n\r\n0\r\n\r\n",
    "a space before the colon": with_fields(b"Content-Length : 5", body=b"hello"),
    "a space before a coding's colon": with_fields(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
    "a folded line": with_fields(b"X: a", b" b"),
    "a folded first line": b"POST / HTTP/1.1\r\n Host: g\r\n\r\n",
    "a folded coding": with_fields(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n"),
    "a bare line feed": POST + b"X: a\nY: b\r\n\r\n",
    "line feeds only": b"POST / HTTP/1.1\nHost: g\n\n",
    "a bare carriage return": POST + b"X: a\rY: b\r\n\r\n",
    "a NUL in a value": with_fields(b"X: a\x00b"),
    "a NUL in a name": with_fields(b"X\x00: b"),
    "a control character in a value": with_fields(b"X: a\x01b"),
    "a DEL in a value": with_fields(b"X: a\x7fb"),
    "a name that is not ASCII": with_fields(b"X\xff: b"),
    "no name": with_fields(b": b"),
    "no colon": with_fields(b"X"),
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": with_fields(b"Host: other"),
    "twice the same Host": with_fields(b"host: gate"),
    "a tunnel": b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: gate\r\n\r\nbytes",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/0.9 by name": b"GET / HTTP/0.9\r\nHost: g\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: g\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: g\r\n\r\n",
    "HTTP/9.9": b"GET / HTTP/9.9\r\nHost: g\r\n\r\n",
    "HTTP/2 from the start": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a space in the target": b"GET /a b HTTP/1.1\r\nHost: g\r\n\r\n",
    "a NUL in the target": b"GET /\x00 HTTP/1.1\r\nHost: g\r\n\r\n",
    "bytes beyond ASCII in the target": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: g\r\n\r\n",
    "a tab for a space": b"GET\t/ HTTP/1.1\r\nHost: g\r\n\r\n",
    "a method in small letters": b"get / HTTP/1.1\r\nHost: g\r\n\r\n",
    "no method at all": b"GARBAGE\r\n\r\n",
}
NO_BODY = {
    "a line feed after a size": b"5\nhello\r\n0\r\n\r\n",
    "a space after a size": b"5 \r\nhello\r\n0\r\n\r\n",
    "a chunk longer than its size": b"5\r\nhelloXX\r\n0\r\n\r\n",
    "a size with a prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a size with a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "an empty size": b"\r\nhello\r\n0\r\n\r\n",
    "a size beyond all numbers": b"10000000000000000\r\n",
    "a line feed in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "a carriage return in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "a NUL in an extension": b"5;a\x00b\r\nhello\r\n0\r\n\r\n",
    "a folded trailer": b"0\r\nX: a\r\n b\r\n\r\n",
}


@pytest.mark.parametrize("wire", NO_REQUEST.values(), ids=NO_REQUEST)
def test_what_could_be_read_in_two_ways_is_refused(wire: bytes) -> None:
    for pieces in ((wire + NEXT,), tuple(bytes([byte]) for byte in wire + NEXT)):
        assert read(*pieces) == ([], 400)


@pytest.mark.parametrize("wire", NO_BODY.values(), ids=NO_BODY)
def test_a_body_that_is_not_framed_as_its_head_says_breaks_and_nothing_follows_it(wire: bytes) -> None:
    wire = with_fields(CHUNKED, body=wire) + NEXT
    for pieces in ((wire,), tuple(bytes([byte]) for byte in wire)):
        (request,), refused = read(*pieces)
        assert (request.body.complete, request.body.broken, refused) == (False, True, 400)


def test_nothing_is_read_after_the_last_request_of_a_connection() -> None:
    requests, refused = read(with_fields(b"Connection: close") + NEXT)
    assert ([request.target for request in requests], refused) == (["/v1/x"], 400)


def test_nothing_is_read_after_a_refusal() -> None:
    assert read(b"GARBAGE\r\n\r\n", NEXT, NEXT) == ([], 400)


# --- sizes -----------------------------------------------------------------------------------------------------------


def cut(wire: bytes, size: int) -> list[bytes]:
    return [wire[at : at + size] for at in range(0, len(wire), size)]


@pytest.mark.parametrize("size", [100, 5_000, 1_000_000])
@pytest.mark.parametrize(
    "wire",
    [
        with_fields(b"X: " + b"y" * 17_000),
        with_fields(*[b"X-%d: " % number + b"y" * 1_000 for number in range(17)]),
        with_fields(b"X" * 17_000 + b": y"),
        b"GET /" + b"x" * 17_000 + b" HTTP/1.1\r\nHost: g\r\n\r\n",
    ],
    ids=["one value", "all of them", "one name", "the target"],
)
def test_a_head_is_sixteen_kibibytes_at_most(wire: bytes, size: int) -> None:
    assert read(*cut(wire, size)) == ([], 431)


def test_empty_lines_do_not_go_on_for_ever() -> None:
    assert read(*cut(b"\r\n" * 9_000, 1_000), NEXT) == ([], 431)


def test_a_head_just_below_its_limit_is_read_with_a_body_far_above_it() -> None:
    wire = with_fields(b"X: " + b"y" * 16_000, b"Content-Length: 100000", body=b"z" * 100_000)
    assert len(only(wire).body.data()) == 100_000
    assert len(only(*cut(wire, 1_000)).body.data()) == 100_000


def test_there_are_at_most_64_headers() -> None:
    assert len(only(with_fields(*[b"X-%d: y" % number for number in range(63)])).headers) == 64
    assert read(with_fields(*[b"X-%d: y" % number for number in range(64)])) == ([], 400)
    assert read(with_fields(*[b"X: y"] * 64)) == ([], 400)


@pytest.mark.parametrize("framing", [b"5;" + b"x" * 20_000, b"3\r\nabc\r\n0\r\n" + b"X: y\r\n" * 4_000])
def test_a_body_that_is_framing_and_nothing_else_breaks(framing: bytes) -> None:
    (request,), refused = read(with_fields(CHUNKED), *cut(framing, 1_000))
    assert (request.body.broken, refused) == (True, 400)


def test_small_chunks_with_small_extensions_are_no_flood() -> None:
    body = b"".join(b"1;note=value\r\nx\r\n" for _ in range(10_000)) + b"0\r\n\r\n"
    assert only(*cut(with_fields(CHUNKED, body=body), 1_000)).body.data() == b"x" * 10_000


@pytest.mark.parametrize("piece", [b"GE", b"GET /lon", b"GET /long HTTP/1.1\r\nHo", b"\r\n"])
def test_a_head_that_has_begun_is_known_to_have_begun(piece: bytes) -> None:
    parser = new_parser()
    assert not parser.in_head
    parser.feed(piece)
    assert parser.in_head
    parser.close()
    assert parser.feed(NEXT) == []


def test_the_beginning_of_a_head_behind_a_request_is_noticed() -> None:
    parser = new_parser()
    parser.feed(NEXT + b"GET /lon")
    assert parser.in_head
    (request,) = parser.feed(b"g HTTP/1.1\r\nHost: g\r\n\r\n")
    assert (request.target, parser.in_head) == ("/long", False)
