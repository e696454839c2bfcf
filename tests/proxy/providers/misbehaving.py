"""An upstream on loopback that does exactly what a test scripts, byte by byte, and remembers what it saw."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from proxy.providers.base import UpstreamRequest

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Line:
    """One connection, seen from the upstream."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """The next whole request; raises IncompleteReadError when the other side has gone."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return head + await self.reader.readexactly(length)

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    def reset(self) -> None:
        bare: socket.socket = self.writer.get_extra_info("socket")
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> bool:
        """Waits until the other side has closed."""
        try:
            return not await self.reader.read(1)
        except ConnectionError:
            return True


Script = Callable[[Line], Awaitable[None]]


class Upstream:
    def __init__(self, script: Script) -> None:
        self._script = script
        self.connections = 0
        self.requests: list[bytes] = []
        self.port = 0
        self.scheme = "http"

    def url(self, path: str = "/v1/chat/completions") -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    def ask(self, body: bytes = b"{}", **headers: str) -> UpstreamRequest:
        return UpstreamRequest("POST", self.url(), {"Authorization": "Bearer sk-canary", **headers}, body)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        line = Line(self.connections, reader, writer)
        read = line.request

        async def remembered() -> bytes:
            self.requests.append(await read())
            return self.requests[-1]

        line.request = remembered  # type: ignore[method-assign]
        try:
            await self._script(line)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def upstream(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    made = Upstream(script)
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    made.scheme = "http" if tls is None else "https"
    try:
        yield made
    finally:
        server.close()


def always(*pieces: bytes) -> Script:
    """Answers every request on a connection with these pieces, a virtual millisecond apart."""

    async def script(line: Line) -> None:
        while True:
            await line.request()
            for piece in pieces:
                line.say(piece)
                await asyncio.sleep(0.001)

    return script


def once(*pieces: bytes) -> Script:
    """Answers one request and closes cleanly."""

    async def script(line: Line) -> None:
        await line.request()
        for piece in pieces:
            line.say(piece)
            await asyncio.sleep(0.001)

    return script
