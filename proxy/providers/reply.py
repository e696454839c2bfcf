"""The bytes of one connection as replies, one after another: framing, limits, and what cannot be a reply (RFC 9112).

Without any I/O. llhttp parses; this adds what it lets through and a gate must not: codings nobody asked for, statuses
that cannot answer a request, heads and trailers without end. A fault is a value, said once in words that follow the
upstream's name, and what was valid before it is still handed out: however the bytes are cut into pieces, the result is
the same. CR and LF behind a reply are skipped, as RFC 9112 2.2 allows; any other byte there spoils the connection.
"""

from __future__ import annotations

from functools import lru_cache

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from proxy.providers.fields import Fields

INTERIM_HEADS_MAX = 8
HEADER_LINES_MAX = 128
HEADER_LINE_BYTES_MAX = 8190
BARREN_BYTES_MAX = 64 * 1024  # in a row without a byte of a body: a head, chunk extensions, trailers
BODILESS = frozenset({204, 205, 206, 304})  # never an answer to what the gate asks
FRAMING = frozenset({"transfer-encoding", "content-encoding", "content-length"})  # nothing to say twice
CODINGS = frozenset({"transfer-encoding", "content-encoding"})

NOT_HTTP = "sent a head that is not valid HTTP"
CUT = "cut its reply short"
GARBLED = "framed its reply in a way that cannot be trusted"


class Replies:
    """`expect` one, `feed` what comes, look at the attributes, `take` the body."""

    __slots__ = (
        "_barren",
        "_fields",
        "_interim",
        "_parser",
        "_until_close",
        "ended",
        "fault",
        "headers",
        "held",
        "pieces",
        "reusable",
        "status",
    )

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)  # some servers pad the size
        self.pieces: list[bytes] = []
        self.headers = Fields({})
        self.expect()

    def expect(self) -> None:
        """Before each request."""
        self.status = 0  # until a final head is in
        self.fault = ""
        self.held = 0  # bytes in `pieces`
        self.ended = False  # all of the body is here
        self.reusable = False  # once ended: whether another request may follow on the same connection
        self._fields: list[tuple[bytes, bytes]] = []  # of a head, or of trailers, which are nobody's
        self._barren = self._interim = 0
        self._until_close = False

    def feed(self, data: bytes) -> None:
        held = self.held
        self._barren += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._spoil()
        if self.held > held:
            self._barren = 0
        elif self._barren > BARREN_BYTES_MAX:
            self._spoil()

    def take(self) -> bytes:
        """What has come of the body and was not taken yet."""
        pieces = self.pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.held = 0
        return data

    def end(self) -> None:
        """The upstream has closed its side cleanly: where nothing else says how long a body is, this ends it."""
        self.reusable = False
        self.ended = self.ended or (self._until_close and not self.fault)

    def cut(self) -> None:
        """Nothing more can come."""
        self.reusable = False
        if self.status:
            self._fail(CUT)

    def close(self) -> None:
        """For good. Parser and replies know each other, and would outlive the connection until garbage is collected."""
        del self._parser

    # --- what llhttp calls; an exception stops it where it stands

    def on_message_begin(self) -> None:
        if self.ended:
            raise HttpParserError("a second reply")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        fields, self._fields = self._fields, []
        parser = self._parser
        status = parser.get_status_code()
        if 100 <= status < 200 and self._interim < INTERIM_HEADS_MAX:
            self._interim += 1
            return
        values = _values(fields)
        fault = _fault(status, values) if status != 200 or not CODINGS.isdisjoint(values) else ""
        if self._barren > HEADER_LINE_BYTES_MAX or len(fields) > HEADER_LINES_MAX:  # else no line can be too long
            fault = fault or _flood(fields)
        if len(values) < len(fields):
            fault = fault or _repeated(fields)
            values = _values(fields[::-1])
        if not fault and parser.get_http_version() not in ("1.1", "1.0"):
            fault = NOT_HTTP
        if fault:
            self.fault = fault
            raise HttpParserError(fault)
        self._until_close = "content-length" not in values and "transfer-encoding" not in values
        self.headers = Fields(values)
        self.status = status

    def on_body(self, data: bytes) -> None:
        self.pieces.append(data)
        self.held += len(data)

    def on_message_complete(self) -> None:
        if self.status:  # not an interim head
            self.ended = True
            self.reusable = self._parser.should_keep_alive()

    def _spoil(self) -> None:
        self.reusable = False
        self._fail(GARBLED if self.status else NOT_HTTP)

    def _fail(self, fault: str) -> None:
        if not self.ended:
            self.fault = self.fault or fault


def _values(fields: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {_key(name): value.rstrip().decode("utf-8", "surrogateescape") for name, value in fields}


@lru_cache(maxsize=512)  # upstreams send the same few names
def _key(name: bytes) -> str:
    return name.lower().decode("ascii")


def _fault(status: int, values: dict[str, str]) -> str:
    """Why this head cannot begin a reply."""
    if not 100 <= status < 600:
        return NOT_HTTP
    if status < 200:
        return f"answered with interim status {status} and nothing after it"
    if status in BODILESS:
        return f"answered with status {status}, which cannot carry a reply"
    if "content-encoding" in values and values["content-encoding"].lower() != "identity":
        return "compressed its reply although it was asked not to"
    if "transfer-encoding" in values and values["transfer-encoding"].lower() != "chunked":
        return GARBLED
    return ""


def _flood(fields: list[tuple[bytes, bytes]]) -> str:
    sizes = [len(name) + len(value) for name, value in fields]
    if len(sizes) > HEADER_LINES_MAX or max(sizes, default=0) > HEADER_LINE_BYTES_MAX or sum(sizes) > BARREN_BYTES_MAX:
        return NOT_HTTP
    return ""


def _repeated(fields: list[tuple[bytes, bytes]]) -> str:
    names = [_key(name) for name, _ in fields]
    return GARBLED if any(names.count(name) > 1 for name in FRAMING) else ""
