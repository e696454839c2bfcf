"""An admin surface on a loopback socket, and who asks it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientSession

from proxy.listeners import Listener, bind, url
from proxy.surfaces.admin_guard import EDGES, Guard
from proxy.surfaces.server import Server


@asynccontextmanager
async def listening(guard: Guard) -> AsyncIterator[str]:
    """Its address."""
    sock = bind("127.0.0.1", 0, "admin listener", "")
    listener = Listener(sock, Server(guard.handle, EDGES, lambda: "id-1"))
    await listener.start()
    try:
        yield url(sock)
    finally:
        await listener.stop()


@asynccontextmanager
async def asking(guard: Guard) -> AsyncIterator[ClientSession]:
    async with listening(guard) as address, ClientSession(address) as session:
        yield session
