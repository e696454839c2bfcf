"""Bytes of a client in, requests out: HTTP/1.1 as RFC 9112 has it, read by llhttp, without a socket.

llhttp is strict about line ends, folded and misspelt headers, lengths and chunks. What it leaves open is closed here:
the size of a head, one Host and no coding but `chunked` (two readers that disagree on where a request ends are how one
is smuggled past the other), versions that do not exist. What cannot be read ends the connection: nobody knows where
the next request would begin. An offer to upgrade the protocol is not taken, and the request read as if without it.
"""

from __future__ import annotations

from functools import lru_cache

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from proxy.errors import ProxyError
from proxy.surfaces.request import Body, Request

ONCE = frozenset({"host", "content-length", "transfer-encoding", "idempotency-key"})
LISTS = frozenset({"cache-control", "x-headgate-cache"})  # whose lines are one list (RFC 9110, 5.3)
MALFORMED = "The request is not valid HTTP/1.1."
TOO_LARGE = "The head of the request is larger than this gate reads."


class RequestParser:
    """Feed it what comes. Once there is a `refusal`, nothing more is read."""

    def __init__(self, head_bytes_max: int, headers_max: int) -> None:
        self.refusal: ProxyError | None = None
        self.body: Body | None = None  # of the last request, while it is coming
        self._head_bytes_max = head_bytes_max
        self._headers_max = headers_max
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        self._begun: list[Request] = []
        self._idle_bytes = 0  # since the last of a head, a body or a message
        self._offer = b""  # a head that offers to upgrade, without that offer
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []

    def __repr__(self) -> str:
        state = "refused" if self.refusal else "in a head" if self.in_head else "idle"
        return f"RequestParser({state if self.body is None else self.body})"

    @property
    def in_head(self) -> bool:
        """Something of a head has come and not the whole."""
        return self.body is None and bool(self._idle_bytes or self._target)

    def feed(self, data: bytes) -> list[Request]:
        """The requests whose heads ended in `data`; the body of the last one may still be coming."""
        parser = self._parser
        if parser is None:
            return []
        begun = self._begun = []
        self._idle_bytes += len(data)
        try:
            parser.feed_data(data)
        except HttpParserUpgrade as offer:
            self._read_on(parser, memoryview(data)[offer.args[0] :])
        except HttpParserError:
            self._refuse()
        if self._idle_bytes > self._head_bytes_max:
            self._flooded()
        return begun

    def close(self) -> None:
        """Parser and callbacks hold each other; nothing more is read."""
        self._parser = None

    def _read_on(self, parser: HttpRequestParser, rest: memoryview) -> None:
        while True:  # ends: every further offer has taken some of the bytes
            try:
                parser.feed_data(self._offer)
                parser.feed_data(rest)
                return
            except HttpParserUpgrade as offer:
                rest = rest[offer.args[0] :]
            except HttpParserError:
                self._refuse()
                return

    def _flooded(self) -> None:
        """A head that has no end, or chunks that are framing and nothing else."""
        if self.body is None and self._parser is not None:
            self.refusal = ProxyError("headers_too_large", TOO_LARGE)
        self._refuse()

    def _refuse(self) -> None:
        self._parser = None
        if self.refusal is None:
            self.refusal = ProxyError("invalid_request", MALFORMED)
        if self.body is not None:
            self.body.fail()

    # --- llhttp's side -----------------------------------------------------------------------------------------------

    def on_url(self, data: bytes) -> None:
        self._target += data

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        parser, target = self._parser, self._target
        assert parser is not None  # it is what calls this
        if self._idle_bytes > self._head_bytes_max:  # with the head of a large body, or too large itself
            self._check_size()
        headers = self._read_fields()
        self._target, self._idle_bytes = b"", 0
        method, version = parser.get_method(), parser.get_http_version()
        if "upgrade" in headers and parser.should_upgrade() and method != b"CONNECT":
            self._offer = _plain_head(b"%b %b HTTP/%b" % (method, target, version.encode()), headers)
            return
        _check(method, version, headers)
        self.body = Body()
        self._begun.append(
            Request(
                method.decode(),
                target.decode("utf-8", "surrogateescape"),
                headers,
                version == "1.1",
                parser.should_keep_alive(),
                self.body,
            )
        )

    def on_body(self, data: bytes) -> None:
        self._idle_bytes = 0
        if self.body is not None:
            self.body.feed(data)

    def on_message_complete(self) -> None:
        if self.body is not None:  # else an offer: its request is still to come
            self._idle_bytes = 0
            self._fields.clear()  # trailers: they came after everything was decided
            self.body.end()
            self.body = None

    def _read_fields(self) -> dict[str, str]:
        fields, self._fields = self._fields, []
        if len(fields) > self._headers_max:
            raise HttpParserError("too many headers")
        headers = {_key(name): value.rstrip().decode("utf-8", "surrogateescape") for name, value in fields}
        return headers if len(headers) == len(fields) else _with_repeated(fields)

    def _check_size(self) -> None:
        size = len(self._target) + sum(len(name) + len(value) for name, value in self._fields)
        if size > self._head_bytes_max:
            self.refusal = ProxyError("headers_too_large", TOO_LARGE)
            raise HttpParserError("a head that is too large")


def _with_repeated(fields: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Of a header that is repeated the first value counts, or all of them, or it must not be."""
    headers: dict[str, str] = {}
    for name, value in fields:
        key, text = _key(name), value.rstrip().decode("utf-8", "surrogateescape")
        if key not in headers:
            headers[key] = text
        elif key in ONCE:
            raise HttpParserError(f"repeated {key}")
        elif key in LISTS:
            headers[key] += ", " + text
    return headers


@lru_cache(maxsize=512)  # clients send the same few names
def _key(name: bytes) -> str:
    return name.lower().decode()  # llhttp lets nothing but ASCII through


def _check(method: bytes, version: str, headers: dict[str, str]) -> None:
    """What llhttp lets through and nobody should send."""
    coding = headers.get("transfer-encoding")
    if version == "1.1":
        if "host" not in headers or (coding is not None and coding.lower() != "chunked"):
            raise HttpParserError("no Host, or another coding than chunked")
    elif version != "1.0" or coding is not None:
        raise HttpParserError("a version that is not spoken here, or chunks where there are none")
    if method == b"CONNECT":
        raise HttpParserError("no tunnels")


def _plain_head(line: bytes, headers: dict[str, str]) -> bytes:
    kept = [f"{name}: {value}" for name, value in headers.items() if name != "upgrade"]
    return b"\r\n".join((line, *[one.encode("utf-8", "surrogateescape") for one in kept], b"", b""))
