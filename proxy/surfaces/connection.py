"""One client connection: bytes to requests, requests to the handler one after another, replies back to the socket.

One task a connection serves it from beginning to end; it is cancelled when the client leaves, and with it whatever it
was serving. One timer a connection bounds every wait for the client: for a first byte, the rest of a head, the next
request, the end of a farewell. It is moved lazily, so that a request costs no timer. Reading pauses when more has come
than anybody has asked for.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
from msgspec import Struct

from proxy.errors import ProxyError
from proxy.surfaces import wire
from proxy.surfaces.parser import RequestParser
from proxy.surfaces.request import Request

SEND_BUFFER = 128 * 1024
RESET = struct.pack("ii", 1, 0)  # linger for no time at all
AHEAD_BYTES_MAX = 256 * 1024  # of requests that wait for their turn, or of a body that nobody reads yet
BEHIND_BYTES_MAX = 1024 * 1024  # of a reply that others read on, and this client does not take
FAREWELL_S = 2.0  # a client that still sends when it is refused has so long to read why
Handler = Callable[[Request, "Connection"], Awaitable[bool]]  # says whether the connection can be used again
FAILED = "The gate failed on this request; it was logged."


class Edges(Struct, frozen=True):
    """Bounds of one connection. Seconds and bytes."""

    head_timeout_s: float = 10.0
    keepalive_s: float = 75.0
    head_bytes_max: int = 16 * 1024
    headers_max: int = 64
    connections_max: int = 20_000


class Host(Protocol):
    """What a connection asks of its server."""

    handler: Handler
    edges: Edges
    new_id: Callable[[], str]  # names replies that are no call's

    def admit(self, connection: Connection) -> asyncio.Task[None] | None:
        """Starts to serve it, unless there are too many."""
        ...

    def left(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, host: Host, loop: asyncio.AbstractEventLoop) -> None:
        self.closing = False  # the present reply is the last one
        self.writing_paused = False
        self.left = False  # the client has, and its request is served on for others
        self._stays = False  # others want the reply: see `stay`
        self._host = host
        self._loop = loop
        self._parser = RequestParser(host.edges.head_bytes_max, host.edges.headers_max)
        self._task: asyncio.Task[None] | None = None
        self._waiting: deque[Request] = deque()
        self._parked: asyncio.Future[None] | None = None  # the task waits here for the next request
        self._drained: asyncio.Future[None] | None = None  # or here for the client to read
        self._replied = False  # something of the present reply has been written
        self._ahead_bytes = 0
        self._reading_paused = False
        self._saying_farewell = False
        self._timer: asyncio.TimerHandle | None = None
        self._look_at = self._due_at = math.inf
        self._in_head = True  # what is due is a head: the rest of one, or the very first

    def __repr__(self) -> str:
        state = "idle" if self._parked is not None else f"serving, {len(self._waiting)} waiting"
        return f"Connection({state}, {self._parser!r})"

    # --- the socket's side -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a stream's, but uvloop's is not registered as one
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._task = self._host.admit(self)
        if self._task is None:
            self.transport.abort()
            return
        self._wait_at_most(self._host.edges.head_timeout_s)

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        begun = parser.feed(data)
        if begun:
            self._waiting.extend(begun)
        parked = self._parked
        if parked is not None:
            if begun or parser.refusal is not None:
                self._parked = None
                self._due_at = math.inf
                if not parked.done():
                    parked.set_result(None)
            elif not self._in_head:  # a head has begun and is not whole: most come in one piece
                self._expect_head()
        if not self._saying_farewell and (parser.body is None or not parser.body.awaited):
            self._ahead_bytes += len(data)
            if self._ahead_bytes > AHEAD_BYTES_MAX:
                self._pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._stays:
            self.left = True
            self.resume_writing()
        elif self._task is not None:
            self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._parser.close()
        self._host.left(self)

    def pause_writing(self) -> None:
        self.writing_paused = True

    def resume_writing(self) -> None:
        self.writing_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # --- the handler's side ------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Raises ConnectionError once the client has gone."""
        if self.transport.is_closing():
            if self._stays:
                return
            raise ConnectionResetError("the client has left")
        self._replied = True
        self.transport.write(data)

    async def drain(self) -> None:
        """Waits until the client has read some of what was written. Its end is the writer's business."""
        while self.writing_paused and not self._stays:
            self._drained = self._loop.create_future()
            await self._drained
        if self.writing_paused and self.transport.get_write_buffer_size() > BEHIND_BYTES_MAX:
            self.reset()

    def stay(self) -> None:
        """Until `go`, or the end of the request, the client can leave or read slowly: what serves it goes on."""
        self._stays = True
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def go(self) -> None:
        """As usual again: if the client has left meanwhile, what serves it is cancelled now."""
        self._stays = False
        if self.left and self._task is not None:
            self._task.cancel()

    def read_on(self) -> None:
        """Somebody waits for what comes."""
        self._ahead_bytes = 0
        if self._reading_paused and not self.transport.is_closing():
            self._reading_paused = False
            self.transport.resume_reading()

    def close(self) -> None:
        """Once what was written has gone out, or once the client has had long enough to take it."""
        self.closing = True
        if not self.transport.is_closing():
            self.transport.close()
            self._wait_at_most(self._host.edges.keepalive_s)

    def reset(self) -> None:
        """At once, and so that it cannot be taken for an end: what was written may be lost."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None and not self.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.closing = True
        self.transport.abort()

    def finish(self) -> None:
        """No further request: closes an idle connection, and any other after its reply."""
        self.closing = True
        if self._parked is not None:
            self.close()

    async def serve(self) -> None:
        waiting = self._waiting
        keep = True
        try:
            while keep and not self.transport.is_closing():
                if waiting:  # also when this is to be the last one: it came before that was known
                    request = waiting.popleft()
                    if not waiting:
                        self.read_on()
                    self._replied = False
                    self._due_at = math.inf  # also where it came before this task was there to park
                    if keep := await self._handle(request) and not self.closing:
                        self._rest()
                    self._stays = False
                elif self._parser.refusal is not None:
                    self._tell(self._parser.refusal)
                    break
                elif self.closing:
                    break
                else:
                    self._parked = self._loop.create_future()
                    await self._parked
        finally:
            self._part()

    async def _handle(self, request: Request) -> bool:
        """Whether the connection can be used again."""
        try:
            return await self._host.handler(request, self)
        except ConnectionError:
            self.close()
        except Exception as defect:
            logging.getLogger("proxy").error("a request met a defect of the gate", exc_info=defect)
            if self._replied:
                self.reset()
            else:
                self._tell(ProxyError("internal", FAILED))
        return False

    def _tell(self, error: ProxyError) -> None:
        """The answer to what is no call: a JSON error, and the last words on this connection."""
        body = msgspec.json.encode(
            {"error": {"message": error.message, "type": error.openai_type, "param": None, "code": error.code}}
        )
        headers = [("Content-Type", "application/json"), ("x-request-id", self._host.new_id())]
        framing = f"Content-Length: {len(body)}"
        if not self.transport.is_closing():
            self.write(wire.head(error.status, headers, framing=framing, keep_alive=False, chunks=True) + body)

    def _part(self) -> None:
        """Closing while the client still sends would reset the connection, and lose the reply that says why."""
        if self.transport.is_closing():
            return
        if self._parser.body is None and self._parser.refusal is None:
            self.close()
            return
        self._saying_farewell = True
        self._parser.close()
        self.read_on()
        self.transport.write_eof()
        self._wait_at_most(FAREWELL_S)

    # --- waits and bounds --------------------------------------------------------------------------------------------

    def _rest(self) -> None:
        """After a request: what is waited for now?"""
        if self._waiting:
            return
        if self._parser.in_head:
            self._expect_head()
        else:
            self._in_head = False
            self._wait_at_most(self._host.edges.keepalive_s)

    def _expect_head(self) -> None:
        self._in_head = True
        self._wait_at_most(self._host.edges.head_timeout_s)

    def _wait_at_most(self, seconds: float) -> None:
        self._due_at = due_at = self._loop.time() + seconds
        if self._timer is not None:
            if self._look_at <= due_at:
                return
            self._timer.cancel()
        self._look_again()

    def _look_again(self) -> None:
        self._look_at = self._due_at
        self._timer = self._loop.call_at(self._look_at, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due_at <= self._look_at:  # not the clock: a loop may be a little early, and would be so again
            self.transport.abort()
        elif self._due_at != math.inf:
            self._look_again()

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self.transport.is_closing():
            self._reading_paused = True
            self.transport.pause_reading()
