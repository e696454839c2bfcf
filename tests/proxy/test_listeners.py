"""Sockets that are bound, served and let go."""

from __future__ import annotations

import asyncio
import socket

import pytest

from proxy.listeners import LAST_WORDS_S, Listener, ListenError, bind, url
from proxy.surfaces.client import Client
from proxy.surfaces.connection import Connection, Edges
from proxy.surfaces.request import Request
from proxy.surfaces.server import Server


def bound() -> socket.socket:
    return bind("127.0.0.1", 0, "test listener", "--port")


def listener_on(sock: socket.socket, answer_s: float) -> Listener:
    async def answer(request: Request, connection: Connection) -> bool:
        await asyncio.sleep(answer_s)
        client = Client(request, connection, 1.0)
        await client.whole(200, [], b"said")
        return client.keep_alive

    return Listener(sock, Server(answer, Edges(), lambda: "id"))


async def asked(sock: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*sock.getsockname())
    writer.write(b"GET / HTTP/1.1\r\nHost: g\r\n\r\n")
    await asyncio.sleep(0.01)
    return reader, writer


def test_a_port_that_is_taken_is_said_with_the_way_out() -> None:
    said = r"The test listener cannot use port \d+ .*: it is taken, perhaps by a gate .* --port 0 takes any"
    with bound() as taken, pytest.raises(ListenError, match=said):
        bind(*taken.getsockname(), "test listener", "--port")


def test_an_address_that_is_not_ours_is_said() -> None:
    with pytest.raises(ListenError, match=r"cannot listen at 203\.0\.113\.1:"):
        bind("203.0.113.1", 0, "test listener", "--port")


def test_an_address_can_be_asked_for() -> None:
    with bound() as sock:
        assert url(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}"


async def test_once_closed_nobody_new_is_let_in_and_who_waits_gets_an_answer() -> None:
    sock = bound()
    address, listener = sock.getsockname(), listener_on(sock, 3600.0)
    await listener.start()
    reader, writer = await asked(sock)
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
    await asyncio.sleep(3600.0)
    assert (await reader.read()).endswith(b"\r\n\r\nsaid")
    writer.close()
    await listener.stop()


async def test_once_closed_who_asks_nothing_is_let_go_at_once() -> None:
    sock = bound()
    listener = listener_on(sock, 0.0)
    await listener.start()
    reader, writer = await asyncio.open_connection(*sock.getsockname())
    await asyncio.sleep(0.01)
    began_at = asyncio.get_running_loop().time()
    listener.close()
    assert await reader.read() == b""
    assert asyncio.get_running_loop().time() - began_at < 1.0
    writer.close()
    await listener.stop()


@pytest.mark.parametrize(("answer_s", "said"), [(LAST_WORDS_S / 2, b"said"), (LAST_WORDS_S * 2, b"")])
async def test_stopping_closes_too_and_leaves_time_for_a_few_words(answer_s: float, said: bytes) -> None:
    sock = bound()
    address, listener = sock.getsockname(), listener_on(sock, answer_s)
    await listener.start()
    reader, writer = await asked(sock)
    began_at = asyncio.get_running_loop().time()
    await listener.stop()
    assert asyncio.get_running_loop().time() - began_at <= LAST_WORDS_S + 0.5
    assert (await reader.read())[-4:] == said
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
    writer.close()
