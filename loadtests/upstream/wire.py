"""The way back to the client, as a script sees it: once the client has left, writing goes nowhere and blocks nobody."""

from __future__ import annotations

import asyncio


class Wire:
    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.left = asyncio.Event()  # the connection is gone
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def write(self, data: bytes) -> None:
        """Returns when there is room for more."""
        if self.left.is_set():
            return
        self.transport.write(data)
        if not self._flowing.is_set():
            await self._flowing.wait()

    def pause(self) -> None:
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def lose(self) -> None:
        self.left.set()
        self._flowing.set()
