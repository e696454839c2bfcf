"""One client connection: requests in, answers out, in order.

Canned answers come from a raw protocol and cost a few microseconds, so nearly all the CPU that a measurement sees
belongs to the gateway under test. A scripted answer is a task. Besides what generates there are `/v1/models`,
`/health`, `GET /bill` (sums and entries), `GET /__bill` (sums) and `POST /scenario` (another one; `null` for none).
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import asdict, dataclass

from . import canned
from .bill import Bill
from .forms import Counted, Form, Stamped
from .request import Request
from .scenario import ScenarioError, parse
from .script import Step
from .stage import Stage
from .wire import Wire

HEAD_BYTES_MAX = 64 * 1024
BODY_BYTES_MAX = 64 * 1024 * 1024
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,12})[ \t]*\r\n")


@dataclass(frozen=True)
class Settings:
    """Of the canned answers."""

    tokens: int = 20  # of every answer; one chunk each when streamed
    first_ms: float = 0.0  # until the first chunk of a stream
    interval_ms: float = 0.0  # between two chunks
    delay_ms: float = 0.0  # until a reply that is not streamed
    error_every: int = 0  # every n-th request is a 503; 0: never
    cut_every: int = 0  # every n-th stream is reset half-way; 0: never
    form: str = "counted"  # or `stamped`: see `forms.py`; the number of tokens is then the request's


class Connection(asyncio.Protocol):
    """The next request waits in the buffer while one is answered."""

    def __init__(self, settings: Settings, bill: Bill, stage: Stage) -> None:
        self._settings = settings
        self._bill = bill
        self._stage = stage
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._wire: Wire
        self._buffer = b""
        self._greeted = False  # the buffered request has had its `100 Continue`
        self._request: Request | None = None  # the one that is being answered over time
        self._timer: asyncio.Handle | None = None
        self._script: asyncio.Task[bool] | None = None
        self._form: Form = Stamped() if settings.form == "stamped" else Counted(settings.tokens)
        self._sent = self._chunks = 0  # of its answer
        self._first_at = 0.0
        self._cut_at = -1
        self._choked = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP only
        self._transport = transport
        self._wire = Wire(transport)
        self._bill.connections += 1
        self._bill.connections_open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._bill.connections_open -= 1
        self._wire.lose()
        if self._timer is not None:
            self._timer.cancel()
        if self._script is not None:
            if not self._stage.bills_on:
                self._script.cancel()
            return
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
        self._wire.pause()

    def resume_writing(self) -> None:
        self._choked = False
        self._wire.resume()
        if self._request is not None and self._timer is None and self._script is None:
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
        self._transport.write(canned.ERROR_HEAD % (status, b"connection: close\r\n", 0, b""))
        self._transport.close()

    def _answer(self, request: Request) -> None:
        if self._administered(request):
            return
        self._bill.requests += 1
        steps = self._stage.script(request)
        every = self._settings.error_every
        if steps is not None:
            self._play(request, steps)
        elif request.path.endswith(b"/models"):
            self._transport.write(canned.plain(b"none", canned.MODELS))
        elif request.path == b"/health":
            self._transport.write(canned.plain(b"none", canned.HEALTH))
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

    def _administered(self, request: Request) -> bool:
        if request.path == b"/__bill":
            told = json.dumps(asdict(self._bill)).encode()
        elif request.path == b"/bill":
            told = json.dumps(self._stage.books.told()).encode()
        elif request.path == b"/scenario":
            self._change_scenario(request.body)
            return True
        else:
            return False
        self._transport.write(canned.plain(b"none", told))
        return True

    def _change_scenario(self, body: bytes) -> None:
        try:
            scenario = None if body.strip() == b"null" else parse(body)
        except ScenarioError as error:
            refusal = json.dumps({"error": {"message": str(error), "type": "invalid_request_error"}}).encode()
            self._transport.write(canned.ERROR_HEAD % (b"400 Bad Request", b"", len(refusal), refusal))
            return
        self._stage.change(scenario)
        told = {"rules": 0 if scenario is None else len(scenario.rules)}
        self._transport.write(canned.plain(b"none", json.dumps(told).encode()))

    # --- scripted

    def _play(self, request: Request, steps: tuple[Step, ...]) -> None:
        self._request = request
        self._script = self._loop.create_task(self._stage.play(request, self._wire, steps))
        self._script.add_done_callback(self._played)

    def _played(self, script: asyncio.Task[bool]) -> None:
        self._request = self._script = None
        if script.cancelled():
            return
        if not script.result():  # an error of the script itself is raised to the loop's handler
            self._transport.close()
            return
        self.data_received(b"")

    # --- canned

    def _error(self, status: bytes, message: bytes, more: bytes = b"") -> None:
        self._bill.errors += 1
        self._transport.write(canned.error(status, message, more))

    def _reply_late(self) -> None:
        request, self._request, self._timer = self._request, None, None
        if request is not None:
            self._reply(request)
        self.data_received(b"")

    def _reply(self, request: Request) -> None:
        prompt, completion = self._form.usage(request)
        self._bill.prompt_tokens += prompt
        self._bill.completion_tokens += completion
        self._transport.write(self._form.whole(request))

    def _start_stream(self, request: Request) -> None:
        self._request = request
        self._sent = 0
        bill, every = self._bill, self._settings.cut_every
        bill.streams += 1
        bill.streams_open += 1
        prompt, self._chunks = self._form.usage(request)
        bill.prompt_tokens += prompt
        self._cut_at = self._chunks // 2 if every and bill.streams % every == 0 else -1
        self._transport.write(self._form.opening(request))
        self._first_at = self._loop.time() + self._settings.first_ms / 1000
        self._timer = self._loop.call_at(self._first_at, self._next_chunk)

    def _next_chunk(self) -> None:
        request, self._timer = self._request, None
        if request is None or self._choked:
            return
        if self._sent == self._cut_at:
            self._end_stream()
            self._bill.streams_cut += 1
            self._transport.abort()
        elif self._sent < self._chunks:
            self._transport.write(self._form.chunk(request, self._sent))
            self._sent += 1
            self._bill.completion_tokens += 1
            due = self._first_at + self._sent * self._settings.interval_ms / 1000  # a schedule that does not drift
            self._timer = self._loop.call_at(due, self._next_chunk)
        else:
            self._transport.write(self._form.closing(request, self._sent))
            self._end_stream()
            self.data_received(b"")

    def _end_stream(self) -> None:
        self._bill.streams_open -= 1
        self._request = None


async def start(
    host: str, port: int, *, settings: Settings, bill: Bill | None = None, stage: Stage | None = None
) -> asyncio.Server:
    """Listens; the caller closes the server. `bill`: the sums, where they are not the stage's own."""
    played = stage or Stage()
    sums = bill or played.bill
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Connection(settings, sums, played), host, port, backlog=4096)
