"""A TCP proxy that does to connections what networks do: delays, cuts, swallows and chops what passes through it.

It knows no protocol and keeps no state but the fault in force, which may be changed while connections are open. It
stands between anything and anything: a gateway and its upstream, a client and a gateway, a program and its store.

    python loadtests/fault_proxy.py --port 9100 --to 127.0.0.1:9000 --down-bytes 500 --down-then reset
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Literal

READ_BYTES = 64 * 1024
LINGER_NOT = struct.pack("ii", 1, 0)  # closing sends RST

Then = Literal["pass", "reset", "half_close", "close", "swallow"]
THENS: tuple[Then, ...] = ("pass", "reset", "half_close", "close", "swallow")


@dataclass(frozen=True)
class Way:
    """One direction. `then` happens once `bytes` have passed: to the end (`pass`), RST on both sides, an end of this
    direction alone, an orderly end of both, or nothing more arrives though everything seems open (`swallow`)."""

    delay: float = 0.0  # seconds that every piece takes longer
    slice: int = READ_BYTES  # no piece is larger
    gap: float = 0.0  # seconds between two pieces
    bytes: int = 0
    then: Then = "pass"


@dataclass(frozen=True)
class Fault:
    up: Way = Way()  # from whoever connected
    down: Way = Way()
    refuse: bool = False  # accepted and reset at once
    black_hole: bool = False  # accepted, and nothing ever comes back


class FaultProxy:
    """`fault` holds for what begins from now on and, at the next piece, for what is under way."""

    def __init__(self, host: str, port: int, fault: Fault | None = None) -> None:
        self.fault = fault or Fault()
        self.connections = 0
        self.port = 0
        self._to = host, port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.drop()

    def drop(self) -> None:
        """Resets every connection that is open."""
        for writer in tuple(self._open):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            if self.fault.refuse:
                _reset(writer)
            elif self.fault.black_hole:
                await _swallow(reader)
            else:
                await self._connect(reader, writer)
        except OSError:
            _reset(writer)
        finally:
            self._open.discard(writer)
            writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._to)
        self._open.add(back)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(reader, back, other=writer, name="up"))
                both.create_task(self._pass(there, writer, other=back, name="down"))
        except* OSError:
            _reset(writer)
        finally:
            self._open.discard(back)
            back.close()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, other: asyncio.StreamWriter, name: str
    ) -> None:
        """One direction to its end; what it does then holds for the whole connection unless it is a half-close."""
        passed = 0
        while True:
            way = self._way(name)
            room = way.slice if way.then == "pass" else min(way.slice, way.bytes - passed)
            if room <= 0:
                await _finish(way.then, reader, (writer, other))
                return
            data = await reader.read(room)
            if not data:
                break
            await asyncio.sleep(way.delay if not passed else way.delay + way.gap)
            writer.write(data)
            await writer.drain()
            passed += len(data)
        with suppress(OSError):
            writer.write_eof()

    def _way(self, name: str) -> Way:
        return self.fault.up if name == "up" else self.fault.down


async def _finish(
    then: Then, reader: asyncio.StreamReader, writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
) -> None:
    """`writers`: of this direction first."""
    if then == "reset":
        for writer in writers:
            _reset(writer)
    elif then == "close":
        for writer in writers:
            writer.close()
    elif then == "half_close":
        writers[0].write_eof()
        await _swallow(reader)
    else:
        await _swallow(reader)


async def _swallow(reader: asyncio.StreamReader) -> None:
    while await reader.read(READ_BYTES):
        pass


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    writer.transport.abort()


def main(given: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="A TCP proxy that delays, cuts, swallows and chops.")
    parser.add_argument("--port", type=int, default=9100, help="0 picks a free one")
    parser.add_argument("--to", required=True, metavar="HOST:PORT")
    parser.add_argument("--refuse", action="store_true")
    parser.add_argument("--black-hole", action="store_true")
    for name in ("up", "down"):
        for field in fields(Way):
            choices = THENS if field.name == "then" else None
            kind = type(field.default)
            parser.add_argument(f"--{name}-{field.name}", type=kind, default=field.default, choices=choices)
    options = parser.parse_args(given)
    up, down = (Way(**{f.name: getattr(options, f"{name}_{f.name}") for f in fields(Way)}) for name in ("up", "down"))
    host, _, port = options.to.rpartition(":")
    proxy = FaultProxy(host, int(port), Fault(up, down, refuse=options.refuse, black_hole=options.black_hole))
    with suppress(KeyboardInterrupt):
        asyncio.run(_forever(proxy, options.port))
    return 0


async def _forever(proxy: FaultProxy, port: int) -> None:
    await proxy.start(port=port)
    print(f"listening on 127.0.0.1:{proxy.port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
