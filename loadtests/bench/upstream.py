"""The benchmark's upstream: a raw protocol with canned replies, a few microseconds each.

It is not the faulty upstream of the load tests: it never fails, and it says when it sent what. A reply repeats the
number of its request (the body's `user`), so a swapped reply shows. Chunk i of a stream carries that number, i, and
the monotonic instant of its write, which a client on the same machine subtracts from its own clock. A stream has
`max_tokens` chunks, on a schedule that does not drift.

    python loadtests/bench/upstream.py --port 9000 --interval-ms 20
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import time

import uvloop

LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
NUMBER = re.compile(rb'"user":\s*"(\d+)"')
CHUNKS = re.compile(rb'"max_tokens":\s*(\d+)')
STREAM = re.compile(rb'"stream":\s*true')
INCLUDE_USAGE = re.compile(rb'"include_usage":\s*true')

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
    + USAGE % (31, 443)
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


class Connection(asyncio.Protocol):
    """One keep-alive connection; it answers one request at a time and expects no pipelining."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._buffer = b""
        self._timer: asyncio.TimerHandle | None = None
        self._number = b"0"
        self._usage = b""  # of each chunk: null if the request asked for usage, as vendors do
        self._sent = self._chunks = 0
        self._began_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP only
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = LENGTH.search(self._buffer, 0, end)
        size = int(length[1]) if length else 0
        if len(self._buffer) < end + 4 + size:
            return
        body, self._buffer = self._buffer[end + 4 :], b""
        self._answer(body)

    def _answer(self, body: bytes) -> None:
        number = NUMBER.search(body)
        self._number = number[1] if number else b"0"
        if STREAM.search(body):
            self._start_stream(body)
        else:
            reply = REPLY % self._number
            self._transport.write(REPLY_HEAD % (self._number, len(reply), reply))

    def _start_stream(self, body: bytes) -> None:
        chunks = CHUNKS.search(body)
        self._sent, self._chunks = 0, int(chunks[1]) if chunks else 1
        self._usage = b',"usage":null' if INCLUDE_USAGE.search(body) else b""
        self._began_at = self._loop.time()
        self._transport.write(STREAM_HEAD % self._number)
        self._next_chunk()

    def _next_chunk(self) -> None:
        if self._sent == self._chunks:
            self._finish_stream()
            return
        delta = DELTA % (self._number, self._sent, time.monotonic_ns() // 1000)
        self._transport.write(framed(EVENT % (self._number, delta, self._usage)))
        self._sent += 1
        self._timer = self._loop.call_at(self._began_at + self._sent * self._interval_s, self._next_chunk)

    def _finish_stream(self) -> None:
        last = EVENT % (self._number, STOP, self._usage)
        if self._usage:
            last += EVENT % (self._number, b"[]", b"," + USAGE % (self._chunks, self._chunks + 412))
        self._transport.write(framed(last + b"data: [DONE]\n\n") + b"0\r\n\r\n")


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def serve(port: int, interval_s: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(interval_s), "127.0.0.1", port, backlog=4096)
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Canned replies and timed streams for the benchmark.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--interval-ms", type=float, default=20.0, help="between two chunks of a stream")
    given = parser.parse_args()
    uvloop.run(serve(given.port, given.interval_ms / 1000))


if __name__ == "__main__":
    main()
