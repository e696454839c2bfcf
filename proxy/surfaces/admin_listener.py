"""The admin listener: aiohttp's server, apart from the data listener's own.

A process that only serves calls need not load it.
"""

from __future__ import annotations

import socket

from aiohttp import web

BACKLOG = 128


class AdminListener:
    """The admin application on its own socket."""

    def __init__(self, sock: socket.socket, application: web.Application) -> None:
        self._socket = sock
        self._runner = web.AppRunner(
            application, access_log=None, handle_signals=False, handler_cancellation=True, auto_decompress=False
        )

    async def start(self) -> None:
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket, backlog=BACKLOG).start()

    async def stop(self) -> None:
        await self._runner.cleanup()
