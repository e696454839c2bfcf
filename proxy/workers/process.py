"""A worker's whole life as a process: connected, welcomed, serving, gone.

It is a fresh interpreter that knows two sockets, the channel and the one it listens at. Signals are the supervisor's: a
terminal or a service manager sends them to the whole group. A supervisor that dies while this is being born is noticed
as soon as there is anyone to notice it.
"""

from __future__ import annotations

import asyncio
import signal
import socket

import msgspec
import uvloop
from msgspec import msgpack

from proxy.watchdog import Watchdog
from proxy.workers.channel import Channel
from proxy.workers.messages import Downward, Failed, Welcome
from proxy.workers.worker import BROKEN, Worker


class Process:
    """The worker's whole life: connected, welcomed, serving, gone."""

    def __init__(self) -> None:
        self._welcome: asyncio.Future[Welcome | None] = asyncio.get_running_loop().create_future()
        self._worker: Worker | None = None
        self._early: list[Downward] = []  # said while it was being made
        self._alone = False

    def __repr__(self) -> str:
        return f"Process({self._worker!r})"

    async def run(self, channel_socket: socket.socket, listening: socket.socket) -> None:
        channel = Channel(msgpack.Decoder(list[Downward]), self._hear, self._lost)
        await channel.connect(channel_socket)
        welcome = await self._welcome
        if welcome is None or self._alone:
            return
        try:
            self._worker = Worker(welcome, channel, listening)
        except (*BROKEN, msgspec.DecodeError) as error:
            channel.send(Failed(str(error)))
            channel.close()
            return
        for message in self._early:
            self._worker.hear(message)
        watchdog = Watchdog(self._worker.log.event, self._worker.metrics.loop_blocked)
        watchdog.start()
        await self._worker.serve()
        watchdog.close()

    def _hear(self, message: Downward) -> None:
        if self._worker is not None:
            self._worker.hear(message)
        elif isinstance(message, Welcome):
            self._welcome.set_result(message)
        else:
            self._early.append(message)

    def _lost(self) -> None:
        self._alone = True
        if self._worker is not None:
            self._worker.orphaned()
        elif not self._welcome.done():
            self._welcome.set_result(None)


def main(channel_fd: int, listening_fd: int) -> None:
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    channel, listening = socket.socket(fileno=channel_fd), socket.socket(fileno=listening_fd)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(channel, listening))


async def _run(channel: socket.socket, listening: socket.socket) -> None:
    await Process().run(channel, listening)
