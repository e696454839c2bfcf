"""The two forms of canned answers: `counted`, which repeats what was asked, and `stamped`, which says when it was sent.

Both are prebuilt bytes with a few places filled in. A counted stream has as many chunks as the settings say; chunk i
says "i ", so a lost or doubled one shows. A stamped stream has `max_tokens` chunks, and each carries the number of its
request (the body's `user`), its own, and the monotonic instant of its write in microseconds, which a client on the same
machine subtracts from its own clock.
"""

from __future__ import annotations

import re
import time
from typing import Protocol

from . import canned
from .request import Request

CHUNKS = re.compile(rb'"max_tokens":\s*(\d+)')
PROMPT_TOKENS, REPLY_TOKENS = 412, 31  # of every stamped answer; of a plain one
USAGE = (
    b'"usage":{"prompt_tokens":412,"completion_tokens":%d,"total_tokens":%d,'
    b'"prompt_tokens_details":{"cached_tokens":128,"audio_tokens":0},'
    b'"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0}}'
)
REPLY = (
    b'{"id":"chatcmpl-%b","object":"chat.completion","created":1700000000,"model":"bench-2026-11-01",'
    b'"choices":[{"index":0,"message":{"role":"assistant","content":"The search found three flights below the limit; '
    b'the one at 09:40 leaves enough time for the meeting, so I suggest to hold it until noon.","refusal":null,'
    b'"annotations":[]},"logprobs":null,"finish_reason":"stop"}],'
    + USAGE % (REPLY_TOKENS, PROMPT_TOKENS + REPLY_TOKENS)
    + b',"service_tier":"default","system_fingerprint":"fp_bench"}'
)
REPLY_HEAD = (
    b"HTTP/1.1 200 OK\r\ndate: Sun, 01 Nov 2026 12:00:00 GMT\r\ncontent-type: application/json\r\n"
    b"x-request-id: req_%b\r\nx-ratelimit-remaining-requests: 9999\r\ncontent-length: %d\r\n\r\n%b"
)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ndate: Sun, 01 Nov 2026 12:00:00 GMT\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"x-request-id: req_%b\r\ntransfer-encoding: chunked\r\n\r\n"
)
EVENT = (
    b'data: {"id":"chatcmpl-%b","object":"chat.completion.chunk","created":1700000000,"model":"bench-2026-11-01",'
    b'"service_tier":"default","system_fingerprint":"fp_bench","choices":%b%b}\n\n'
)
DELTA = b'[{"index":0,"delta":{"content":" %b/%d@%d"},"logprobs":null,"finish_reason":null}]'
STOP = b'[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]'


class Form(Protocol):
    """Bytes as they go over the wire."""

    def usage(self, request: Request) -> tuple[int, int]:
        """Tokens in and out; a stream has a chunk for each of the latter."""
        ...

    def whole(self, request: Request) -> bytes: ...

    def opening(self, request: Request) -> bytes: ...

    def chunk(self, request: Request, number: int) -> bytes: ...

    def closing(self, request: Request, made: int) -> bytes: ...


class Counted:
    def __init__(self, tokens: int) -> None:
        self._tokens = tokens

    def usage(self, request: Request) -> tuple[int, int]:
        return request.prompt_tokens, self._tokens

    def whole(self, request: Request) -> bytes:
        used = canned.usage(*self.usage(request))
        return canned.plain(request.nonce, canned.whole(request, "word " * self._tokens, used=used))

    def opening(self, request: Request) -> bytes:
        return canned.STREAM_HEAD % request.nonce + canned.framed(canned.event(request, canned.FIRST))

    def chunk(self, request: Request, number: int) -> bytes:
        return canned.framed(canned.event(request, canned.DELTA % number))

    def closing(self, request: Request, made: int) -> bytes:
        used = b""
        if request.wants_usage:
            used = canned.event(request, b"[]", canned.usage(request.prompt_tokens, made))
        return canned.framed(canned.stop(request) + used + canned.DONE) + canned.LAST_CHUNK


class Stamped:
    def usage(self, request: Request) -> tuple[int, int]:
        if not request.streamed:
            return PROMPT_TOKENS, REPLY_TOKENS
        chunks = CHUNKS.search(request.body)
        return PROMPT_TOKENS, int(chunks[1]) if chunks else 1

    def whole(self, request: Request) -> bytes:
        reply = REPLY % request.nonce
        return REPLY_HEAD % (request.nonce, len(reply), reply)

    def opening(self, request: Request) -> bytes:
        return STREAM_HEAD % request.nonce

    def chunk(self, request: Request, number: int) -> bytes:
        delta = DELTA % (request.nonce, number, time.monotonic_ns() // 1000)
        return canned.framed(EVENT % (request.nonce, delta, _unknown(request)))

    def closing(self, request: Request, made: int) -> bytes:
        last = EVENT % (request.nonce, STOP, _unknown(request))
        if request.wants_usage:
            last += EVENT % (request.nonce, b"[]", b"," + USAGE % (made, made + PROMPT_TOKENS))
        return canned.framed(last + canned.DONE) + canned.LAST_CHUNK


def _unknown(request: Request) -> bytes:
    """Of each chunk before the last, as vendors do it."""
    return b',"usage":null' if request.wants_usage else b""
