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
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop

HEAD_BYTES_MAX = 64 * 1024
BODY_BYTES_MAX = 64 * 1024 * 1024

NONCE = re.compile(rb"[\w.\-]{1,128}")
USER = re.compile(rb'"user"\s*:\s*"([\w.\-]{1,128})"')
MODEL = re.compile(rb'"model"\s*:\s*("(?:[^"\\]|\\.){0,256}")')
STREAM = re.compile(rb'"stream"\s*:\s*true')
INCLUDE_USAGE = re.compile(rb'"include_usage"\s*:\s*true')
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,12})[ \t]*\r\n")

JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: %b\r\ncontent-length: %d\r\n\r\n%b"
ERROR_HEAD = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b"
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: %b\r\ntransfer-encoding: chunked\r\n\r\n"
)
USAGE = b'"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}'
CHAT = (
    b'{"id":"chatcmpl-%b","object":"chat.completion","created":1700000000,"model":%b,"choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"%b"},"finish_reason":"stop"}],%b,"system_fingerprint":"%b"}'
)
EMBEDDING = (
    b'{"object":"list","id":"emb-%b","model":%b,"data":[{"object":"embedding","index":0,"embedding":[0.6,0.8]}],%b}'
)
EVENT = (
    b'data: {"id":"chatcmpl-%b","object":"chat.completion.chunk","created":1700000000,"model":%b,'
    b'"system_fingerprint":"%b","choices":%b%b}\n\n'
)
DELTA = b'[{"index":0,"delta":{"content":"%d "},"finish_reason":null}]'
FIRST_DELTA = b'[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]'
STOP_DELTA = b'[{"index":0,"delta":{},"finish_reason":"stop"}]'
MODELS = b'{"object":"list","data":[{"id":"bench","object":"model","created":1700000000,"owned_by":"loadtest"}]}'


@dataclass(frozen=True, slots=True)
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
    streams: int = 0
    streams_open: int = 0
    streams_cancelled: int = 0  # closed by the other side before their end
    streams_cut: int = 0  # by `cut_every`
    replies_cancelled: int = 0  # not streamed, closed during `delay_ms`
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Request:
    """One parsed request; `nonce`, `model` and `wants_usage` go back into its reply."""

    __slots__ = ("body", "model", "nonce", "path", "streamed", "wants_usage")

    def __init__(self, path: bytes, lowered_head: bytes, head: bytes, body: bytes) -> None:
        self.path = path
        self.body = body
        self.nonce = _nonce(lowered_head, head, body)
        model = MODEL.search(body)
        self.model = model[1] if model else b'"bench"'
        self.streamed = STREAM.search(body) is not None
        self.wants_usage = self.streamed and INCLUDE_USAGE.search(body) is not None

    @property
    def prompt_tokens(self) -> int:
        return max(1, len(self.body) // 4)

    def usage(self, tokens: int) -> bytes:
        return USAGE % (self.prompt_tokens, tokens, self.prompt_tokens + tokens)


def _nonce(lowered_head: bytes, head: bytes, body: bytes) -> bytes:
    at = lowered_head.find(b"\r\nx-nonce:")
    if at >= 0:
        given = NONCE.search(head, at + 10, head.find(b"\r\n", at + 2))
        if given:
            return given[0]
    user = USER.search(body)
    return user[1] if user else b"none"


class Connection(asyncio.Protocol):
    """One client connection. Requests are answered in order; the next one waits in the buffer meanwhile."""

    def __init__(self, settings: Settings, bill: Bill, loop: asyncio.AbstractEventLoop) -> None:
        self._settings = settings
        self._bill = bill
        self._loop = loop
        self._transport: asyncio.Transport
        self._buffer = b""
        self._timer: asyncio.Handle | None = None  # set while an answer is under way
        self._request: Request | None = None  # the one under way
        self._sent = 0  # its chunks, if it is streamed
        self._cut_at = -1
        self._choked = False
        self._greeted = False

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

    def pause_writing(self) -> None:
        self._choked = True

    def resume_writing(self) -> None:
        self._choked = False
        if self._request is not None and self._request.streamed and self._timer is None:
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
            self._greet(lowered)
            return False
        self._greeted = False
        body = self._buffer[end + 4 : whole]
        self._buffer = self._buffer[whole:]
        path = head.split(b" ", 2)[1] if head.count(b" ") >= 2 else b"/"
        self._answer(Request(path, lowered, head, body))
        return True

    def _greet(self, lowered_head: bytes) -> None:
        if not self._greeted and b"\r\nexpect: 100-continue" in lowered_head:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._greeted = True

    def _refuse(self, status: bytes) -> None:
        self._bill.errors += 1
        self._buffer = b""
        self._transport.write(ERROR_HEAD % (status, b"connection: close\r\n", 0, b""))
        self._transport.close()

    def _answer(self, request: Request) -> None:
        if not request.path.startswith(b"/__"):
            self._bill.requests += 1
        every = self._settings.error_every
        if every and self._bill.requests % every == 0:
            self._bill.errors += 1
            body = b'{"error":{"message":"The server is overloaded","type":"server_error","param":null,"code":null}}'
            self._transport.write(ERROR_HEAD % (b"503 Service Unavailable", b"retry-after: 1\r\n", len(body), body))
        elif request.streamed and request.path.endswith(b"/chat/completions"):
            self._start_stream(request)
        elif self._settings.delay_ms > 0:
            self._request = request
            self._timer = self._loop.call_later(self._settings.delay_ms / 1000, self._reply_late)
        else:
            self._reply(request)

    # --- not streamed

    def _reply_late(self) -> None:
        request, self._request, self._timer = self._request, None, None
        if request is not None:
            request.streamed = False
            self._reply(request)
        self.data_received(b"")

    def _reply(self, request: Request) -> None:
        tokens = self._settings.tokens
        path = request.path
        if path.endswith(b"/chat/completions"):
            body = CHAT % (request.nonce, request.model, b"word " * tokens, request.usage(tokens), request.nonce)
        elif path.endswith(b"/embeddings"):
            tokens = 0
            body = EMBEDDING % (request.nonce, request.model, request.usage(0))
        else:
            self._reply_unbilled(path)
            return
        self._bill.prompt_tokens += request.prompt_tokens
        self._bill.completion_tokens += tokens
        self._transport.write(JSON_HEAD % (request.nonce, len(body), body))

    def _reply_unbilled(self, path: bytes) -> None:
        if path == b"/__bill":
            body = json.dumps(asdict(self._bill)).encode()
        elif path.endswith(b"/models"):
            body = MODELS
        else:
            body = b'{"error":{"message":"Unknown path","type":"invalid_request_error","param":null,"code":null}}'
            self._transport.write(ERROR_HEAD % (b"404 Not Found", b"", len(body), body))
            return
        self._transport.write(JSON_HEAD % (b"none", len(body), body))

    # --- streamed

    def _start_stream(self, request: Request) -> None:
        self._request = request
        self._sent = 0
        bill = self._bill
        bill.streams += 1
        bill.streams_open += 1
        bill.prompt_tokens += request.prompt_tokens
        every = self._settings.cut_every
        self._cut_at = self._settings.tokens // 2 if every and bill.streams % every == 0 else -1
        self._transport.write(STREAM_HEAD % request.nonce + _framed(_event(request, FIRST_DELTA)))
        self._timer = self._loop.call_later(self._settings.first_ms / 1000, self._next_chunk)

    def _next_chunk(self) -> None:
        request = self._request
        self._timer = None
        if request is None or self._choked:
            return
        if self._sent == self._cut_at:
            self._cut()
        elif self._sent < self._settings.tokens:
            self._transport.write(_framed(_event(request, DELTA % self._sent)))
            self._sent += 1
            self._bill.completion_tokens += 1
            self._timer = self._loop.call_later(self._settings.interval_ms / 1000, self._next_chunk)
        else:
            self._finish_stream(request)

    def _finish_stream(self, request: Request) -> None:
        last = _event(request, STOP_DELTA)
        if request.wants_usage:
            last += _event(request, b"[]", request.usage(self._sent))
        self._transport.write(_framed(last + b"data: [DONE]\n\n") + b"0\r\n\r\n")
        self._bill.streams_open -= 1
        self._request = None
        self.data_received(b"")

    def _cut(self) -> None:
        self._bill.streams_open -= 1
        self._bill.streams_cut += 1
        self._request = None
        self._transport.abort()


def _event(request: Request, choices: bytes, usage: bytes = b"") -> bytes:
    if request.wants_usage:
        usage = b"," + (usage or b'"usage":null')
    return EVENT % (request.nonce, request.model, request.nonce, choices, usage)


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
    defaults = Settings()
    for name, default in asdict(defaults).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    given = vars(parser.parse_args())
    settings = Settings(**{name: given[name] for name in asdict(defaults)})
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(given["host"], given["port"], settings))


if __name__ == "__main__":
    main()
