"""All connections of a listener: how many there may be, and how they end when the gate stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from proxy.surfaces.connection import Connection, Edges, Handler
from proxy.tasks import Tasks


class Server:
    """A protocol factory. Refuses more than `connections_max` connections at once."""

    def __init__(self, handler: Handler, edges: Edges, new_id: Callable[[], str]) -> None:
        self.handler = handler
        self.edges = edges
        self.new_id = new_id
        self.refused = 0
        self.connections: set[Connection] = set()
        self._tasks = Tasks(_failed)

    def __call__(self) -> Connection:
        return Connection(self, asyncio.get_running_loop())

    def __repr__(self) -> str:
        return f"Server({len(self.connections)} connections, {self.refused} refused)"

    def admit(self, connection: Connection) -> asyncio.Task[None] | None:
        if len(self.connections) >= self.edges.connections_max:
            self.refused += 1
            return None
        self.connections.add(connection)
        return self._tasks.start("connection", connection.serve())

    def left(self, connection: Connection) -> None:
        self.connections.discard(connection)

    def pre_shutdown(self) -> None:
        """Idle connections are closed, the others after the reply that is on its way."""
        for connection in tuple(self.connections):
            connection.finish()

    async def shutdown(self, timeout_s: float) -> None:
        """What still runs may end within `timeout_s`."""
        self.pre_shutdown()
        await self._tasks.close(grace_s=timeout_s)
        for connection in tuple(self.connections):
            connection.transport.abort()


def _failed(name: str, error: BaseException) -> None:
    logging.getLogger("proxy").error("a %s met a defect of the gate", name, exc_info=error)
