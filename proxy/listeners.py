"""Where the gate listens: sockets bound before anything else starts, and connections closed only after their calls.

A port that is taken is the commonest mistake of a first start, so it is found first and said in one sentence.
"""

from __future__ import annotations

import asyncio
import errno
import socket

from proxy.surfaces.server import Server

BACKLOG = 1024
LAST_WORDS_S = 1.0


class ListenError(Exception):
    """An address that cannot be listened at; the text says why and what to do."""


def bind(host: str, port: int, what: str, flag: str) -> socket.socket:
    """A listening socket. `what` and `flag` are for the message: "data listener", "--port"."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise ListenError(_taken(host, port, what, flag)) from None
        raise ListenError(f"The {what} cannot listen at {host}:{port}: {error.strerror or error}.") from None
    sock.setblocking(False)
    return sock


def _taken(host: str, port: int, what: str, flag: str) -> str:
    return (
        f"The {what} cannot use port {port} on {host}: it is taken, perhaps by a gate that runs already (`headgate "
        f"doctor` tells). Stop that, or choose another port with {flag}; {flag} 0 takes any that is free."
    )


def url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Listener:
    """A server's connections on one socket."""

    def __init__(self, sock: socket.socket, server: Server) -> None:
        self._socket = sock
        self._server = server
        self._listening: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._server, sock=self._socket, backlog=BACKLOG)

    def close(self) -> None:
        """No new connections, no further requests on those that are open; calls that run go on."""
        if self._listening is not None:
            self._listening.close()
        self._server.pre_shutdown()

    async def stop(self) -> None:
        self.close()
        await self._server.shutdown(LAST_WORDS_S)
