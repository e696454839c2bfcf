"""F06: no descriptor is left. The client is told at once, and nothing was sent that could cost something."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.test_matrix import BODIES
from tests.faults.world import FaultWorld, Server
from tests.flow.world import head, read_response

pytestmark = pytest.mark.slow

PATH = "/v1/chat/completions"


@contextmanager
def no_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_free = os.dup(0)
    os.close(next_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_without_a_socket_for_the_upstream_the_client_is_told_to_come_back() -> None:
    server = Server([])
    socket.getaddrinfo("127.0.0.1", 80, flags=socket.AI_NUMERICHOST)  # the first time it reads files
    async with FaultWorld(server) as world:
        reader, writer = await world.connect()
        await asyncio.sleep(0.1)
        loop = asyncio.get_running_loop()
        began = loop.time()
        with no_descriptors():
            writer.write(head(BODIES["plain"], path=PATH) + BODIES["plain"])
            reply = await read_response(reader)
        assert loop.time() - began <= 0.005
        assert (reply.status, reply.error["code"]) == (503, "overloaded")
        assert float(reply.headers["retry-after"]) <= 120
        assert server.entries == []
        assert all(attempt.usage is None for attempt in world.outcome.attempts)


async def test_when_there_are_descriptors_again_it_goes_on_by_itself() -> None:
    async with FaultWorld(Server([])) as world:
        reader, writer = await world.connect()
        await asyncio.sleep(0.1)
        with no_descriptors():
            writer.write(head(BODIES["plain"], path=PATH) + BODIES["plain"])
            assert (await read_response(reader)).status >= 500
        assert (await world.request(BODIES["plain"])).status == 200
