"""One end of the socket between the supervisor and a worker: messages out, in one frame a turn of the loop, and in.

A frame is a length of four bytes (big-endian) and a msgpack array of messages. Nothing is lost, repeated or reordered
between two live ends; when the other end's process has ended, all that it wrote is still heard, and then `lost` once.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import Raw, Struct, msgpack

FRAME_BYTES_MAX: Final = 256 * 1024 * 1024
LENGTH_BYTES: Final = 4

In = TypeVar("In", bound=Struct)


class Channel(asyncio.Protocol, Generic[In]):
    """`hear` is called for each message, in order; `lost` when there will be no more."""

    def __init__(
        self, decoder: msgpack.Decoder[list[In]], hear: Callable[[In], None], lost: Callable[[], None]
    ) -> None:
        self.open = True
        self._decoder = decoder
        self._hear = hear
        self._lost = lost
        self._encoder = msgpack.Encoder()
        self._waiting: list[Struct | Raw] = []
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def __repr__(self) -> str:
        return f"Channel(open={self.open}, {len(self._waiting)} waiting)"

    async def connect(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=sock)

    def send(self, message: Struct | Raw) -> None:
        """Goes out at the end of this turn of the loop. To an end that is gone: nowhere."""
        if not self.open:
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append(message)

    def flush(self) -> None:
        if self._waiting and self._transport is not None:
            messages, self._waiting = self._waiting, []
            try:
                data = self._encoder.encode(messages)
            except (UnicodeEncodeError, OverflowError):  # names of clients may hold what no message can
                data = self._encoder.encode([message for message in messages if self._fits(message)])
            self._transport.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)

    def _fits(self, message: Struct | Raw) -> bool:
        try:
            return bool(self._encoder.encode(message))
        except (UnicodeEncodeError, OverflowError):
            return False

    def close(self) -> None:
        """What was sent still arrives."""
        self.flush()
        self.open = False
        if self._transport is not None:
            self._transport.close()

    # --- asyncio's side ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's, but uvloop's is not registered as one
        self.flush()

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        at = 0
        while len(received) - at >= LENGTH_BYTES:  # ends: each frame moves it on
            end = at + LENGTH_BYTES + int.from_bytes(received[at : at + LENGTH_BYTES], "big")
            if end - at > FRAME_BYTES_MAX:
                raise msgspec.DecodeError(f"a frame of {end - at} bytes")
            if end > len(received):
                break
            for message in self._decoder.decode(received[at + LENGTH_BYTES : end]):
                self._hear(message)
            at = end
        del received[:at]

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._transport = None
        self._lost()
