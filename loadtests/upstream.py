"""An OpenAI-compatible upstream that costs a few microseconds a request, for benchmarks and load tests.

It stands alone: one file, the standard library, uvloop if it is there. A raw protocol answers from prebuilt bytes, so
nearly all the CPU that a measurement sees belongs to the gateway under test. Every request may carry a nonce
(`x-nonce`, or the body's `user`), which each reply repeats in `id` and `system_fingerprint`: a swapped reply shows.
Chunk i of a stream says "i ", so that a lost or doubled chunk shows too. `GET /__bill` gives its own true bill: what
was generated, also for streams that were closed half-way.

    python loadtests/upstream.py --port 9000 --tokens 50 --interval-ms 20
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
from dataclasses import asdict, dataclass

try:
    import uvloop
except ImportError:
    uvloop = None  # type: ignore[assignment]  # it is a speed-up, nothing else

HEAD_BYTES_MAX = 64 * 1024
BODY_BYTES_MAX = 64 * 1024 * 1024

NONCE = re.compile(rb"[\w.\-]{1,128}")
USER = re.compile(rb'"user"\s*:\s*"([\w.\-]{1,128})"')
MODEL = re.compile(rb'"model"\s*:\s*("(?:[^"\\]|\\.){0,256}")')
STREAM = re.compile(rb'"stream"\s*:\s*true')
INCLUDE_USAGE = re.compile(rb'"include_usage"\s*:\s*true')
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,12})[ \t]*\r\n")

PLAIN_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: %b\r\ncontent-length: %d\r\n\r\n%b"
ERROR_HEAD = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b"
ERROR = b'{"error":{"message":"%b","type":"server_error","param":null,"code":null}}'
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: %b\r\ntransfer-encoding: chunked\r\n\r\n"
)
USAGE = b'"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}'
CHAT = (
    b'{"id":"chatcmpl-%b","object":"chat.completion","created":1700000000,"model":%b,"choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"%b"},"finish_reason":"stop"}],%b,"system_fingerprint":"%b"}'
)
EVENT = (
    b'data: {"id":"chatcmpl-%b","object":"chat.completion.chunk","created":1700000000,"model":%b,'
    b'"system_fingerprint":"%b","choices":%b%b}\n\n'
)
FIRST = b'[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]'
DELTA = b'[{"index":0,"delta":{"content":"%d "},"finish_reason":null}]'
STOP = b'[{"index":0,"delta":{},"finish_reason":"stop"}]'
MODELS = b'{"object":"list","data":[{"id":"bench","object":"model","created":1700000000,"owned_by":"loadtest"}]}'


@dataclass(frozen=True)
class Settings:
    tokens: int = 20  # of every answer; one chunk each when streamed
    first_ms: float = 0.0  # until the first chunk of a stream
    interval_ms: float = 0.0  # between two chunks
    delay_ms: float = 0.0  # until a reply that is not streamed
    error_every: int = 0  # every n-th request is a 503; 0: never
    cut_every: int = 0  # every n-th stream is reset half-way; 0: never


@dataclass(slots=True)
class Bill:
    """What this upstream did and what it would charge for."""

    connections: int = 0
    connections_open: int = 0
    requests: int = 0
    errors: int = 0
    streams: int = 0
    streams_open: int = 0
    streams_cancelled: int = 0  # closed by the other side before their end
    streams_cut: int = 0  # by `cut_every`
    replies_cancelled: int = 0  # not streamed, closed during `delay_ms`
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Request:
    """One request; `nonce`, `model` and `wants_usage` go back into its reply."""

    __slots__ = ("model", "nonce", "path", "prompt_tokens", "streamed", "wants_usage")

    def __init__(self, head: bytes, lowered: bytes, body: bytes) -> None:
        self.path = [*head.split(b" ", 2), b"", b""][1]
        self.prompt_tokens = max(1, len(body) // 4)
        model = MODEL.search(body)
        self.model = model[1] if model else b'"bench"'
        asked = b'"stream"' in body and STREAM.search(body) is not None  # a plain search rules most bodies out, fast
        self.streamed = asked and self.path.endswith(b"/chat/completions")
        self.wants_usage = self.streamed and INCLUDE_USAGE.search(body) is not None
        named = lowered.find(b"\r\nx-nonce:")
        nonce = NONCE.search(head, named + 10, head.find(b"\r\n", named + 2)) if named >= 0 else None
        user = USER.search(body) if nonce is None and b'"user"' in body else None
        self.nonce = nonce[0] if nonce else user[1] if user else b"none"

    def usage(self, tokens: int) -> bytes:
        return USAGE % (self.prompt_tokens, tokens, self.prompt_tokens + tokens)

    def event(self, choices: bytes, usage: bytes = b"") -> bytes:
        if self.wants_usage:
            usage = b"," + (usage or b'"usage":null')
        return EVENT % (self.nonce, self.model, self.nonce, choices, usage)


class Connection(asyncio.Protocol):
    """One client connection. Requests are answered in order; the next one waits in the buffer meanwhile."""

    def __init__(self, settings: Settings, bill: Bill, loop: asyncio.AbstractEventLoop) -> None:
        self._settings = settings
        self._bill = bill
        self._loop = loop
        self._transport: asyncio.Transport
        self._buffer = b""
        self._greeted = False  # the buffered request has had its `100 Continue`
        self._request: Request | None = None  # the one that is being answered over time
        self._timer: asyncio.Handle | None = None
        self._sent = 0  # chunks of its answer
        self._cut_at = -1
        self._choked = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP only
        self._transport = transport
        self._bill.connections += 1
        self._bill.connections_open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._bill.connections_open -= 1
        if self._timer is not None:
            self._timer.cancel()
        if self._request is None:
            return
        if self._request.streamed:
            self._bill.streams_open -= 1
            self._bill.streams_cancelled += 1
        else:
            self._bill.replies_cancelled += 1
        self._request = None

    def pause_writing(self) -> None:
        self._choked = True

    def resume_writing(self) -> None:
        self._choked = False
        if self._request is not None and self._timer is None:
            self._next_chunk()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        while self._buffer and self._request is None and self._take_one():
            pass
        if len(self._buffer) > HEAD_BYTES_MAX + BODY_BYTES_MAX:
            self._refuse(b"413 Content Too Large")

    def _take_one(self) -> bool:
        """Answers the first whole request of the buffer, or begins to; False if there is none."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_BYTES_MAX:
                self._refuse(b"431 Request Header Fields Too Large")
            return False
        head = self._buffer[: end + 2]
        lowered = head.lower()
        if b"\r\ntransfer-encoding:" in lowered:
            self._refuse(b"411 Length Required")
            return False
        length = LENGTH.search(lowered)
        whole = end + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) < whole:
            if not self._greeted and b"\r\nexpect: 100-continue\r\n" in lowered:
                self._greeted = True
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return False
        self._greeted = False
        body, self._buffer = self._buffer[end + 4 : whole], self._buffer[whole:]
        self._answer(Request(head, lowered, body))
        return True

    def _refuse(self, status: bytes) -> None:
        self._buffer = b""
        self._transport.write(ERROR_HEAD % (status, b"connection: close\r\n", 0, b""))
        self._transport.close()

    def _answer(self, request: Request) -> None:
        if request.path == b"/__bill":
            self._plain(b"none", json.dumps(asdict(self._bill)).encode())
            return
        self._bill.requests += 1
        every = self._settings.error_every
        if request.path.endswith(b"/models"):
            self._plain(b"none", MODELS)
        elif not request.path.endswith(b"/chat/completions"):
            self._error(b"404 Not Found", b"There is no such path")
        elif every and self._bill.requests % every == 0:
            self._error(b"503 Service Unavailable", b"The server is overloaded", b"retry-after: 1\r\n")
        elif request.streamed:
            self._start_stream(request)
        elif self._settings.delay_ms > 0:
            self._request = request
            self._timer = self._loop.call_later(self._settings.delay_ms / 1000, self._reply_late)
        else:
            self._reply(request)

    def _error(self, status: bytes, message: bytes, more: bytes = b"") -> None:
        self._bill.errors += 1
        body = ERROR % message
        self._transport.write(ERROR_HEAD % (status, more, len(body), body))

    def _plain(self, nonce: bytes, body: bytes) -> None:
        self._transport.write(PLAIN_HEAD % (nonce, len(body), body))

    def _reply_late(self) -> None:
        request, self._request, self._timer = self._request, None, None
        if request is not None:
            self._reply(request)
        self.data_received(b"")

    def _reply(self, request: Request) -> None:
        tokens = self._settings.tokens
        self._bill.prompt_tokens += request.prompt_tokens
        self._bill.completion_tokens += tokens
        text = b"word " * tokens
        self._plain(request.nonce, CHAT % (request.nonce, request.model, text, request.usage(tokens), request.nonce))

    def _start_stream(self, request: Request) -> None:
        self._request = request
        self._sent = 0
        bill, every = self._bill, self._settings.cut_every
        bill.streams += 1
        bill.streams_open += 1
        bill.prompt_tokens += request.prompt_tokens
        self._cut_at = self._settings.tokens // 2 if every and bill.streams % every == 0 else -1
        self._transport.write(STREAM_HEAD % request.nonce + _framed(request.event(FIRST)))
        self._timer = self._loop.call_later(self._settings.first_ms / 1000, self._next_chunk)

    def _next_chunk(self) -> None:
        request, self._timer = self._request, None
        if request is None or self._choked:
            return
        if self._sent == self._cut_at:
            self._end_stream()
            self._bill.streams_cut += 1
            self._transport.abort()
        elif self._sent < self._settings.tokens:
            self._transport.write(_framed(request.event(DELTA % self._sent)))
            self._sent += 1
            self._bill.completion_tokens += 1
            self._timer = self._loop.call_later(self._settings.interval_ms / 1000, self._next_chunk)
        else:
            usage = request.event(b"[]", request.usage(self._sent)) if request.wants_usage else b""
            self._transport.write(_framed(request.event(STOP) + usage + b"data: [DONE]\n\n") + b"0\r\n\r\n")
            self._end_stream()
            self.data_received(b"")

    def _end_stream(self) -> None:
        self._bill.streams_open -= 1
        self._request = None


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def start(host: str, port: int, *, settings: Settings, bill: Bill) -> asyncio.Server:
    """Listens; the caller closes the server."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Connection(settings, bill, loop), host, port, backlog=4096)


async def serve(host: str, port: int, settings: Settings) -> None:
    """Serves until SIGINT or SIGTERM; says on standard output where."""
    server = await start(host, port, settings=settings, bill=Bill())
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    print(f"listening on http://{host}:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await stopped.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="A cheap OpenAI-compatible upstream for benchmarks and load tests.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000, help="0 picks a free one")
    defaults = asdict(Settings())
    for name, default in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    given = vars(parser.parse_args())
    settings = Settings(**{name: given[name] for name in defaults})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop else None) as runner:
        runner.run(serve(given["host"], given["port"], settings))


if __name__ == "__main__":
    main()
