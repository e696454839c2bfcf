"""Connections over real sockets in virtual time, with handlers of a few lines."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

import msgspec
import pytest

from proxy.surfaces import wire
from proxy.surfaces.connection import AHEAD_BYTES_MAX, FAREWELL_S, Connection, Edges, Handler
from proxy.surfaces.request import Request
from proxy.surfaces.server import Server
from tests.flow.world import Response, read_response

JSON: wire.Headers = [("Content-Type", "application/json")]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def reply(connection: Connection, body: bytes, *, keep_alive: bool = True) -> None:
    framing = f"Content-Length: {len(body)}"
    connection.write(wire.head(200, JSON, framing=framing, keep_alive=keep_alive, chunks=True) + body)


async def echo(request: Request, connection: Connection) -> bool:
    """Says what it was asked, a little later."""
    await asyncio.sleep(0.1)
    keep_alive = request.keep_alive and request.body.complete
    reply(connection, request.target.encode() + b" " + request.body.data(), keep_alive=keep_alive)
    return keep_alive


class Site:
    def __init__(self, handler: Handler = echo, edges: Edges | None = None) -> None:
        self.server = Server(handler, edges or Edges(), lambda: "id-1")
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Site:
        self._listening = await asyncio.get_running_loop().create_server(self.server, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exception: object) -> None:
        for writer in self._writers:
            writer.close()
        self._listening.close()
        await self.server.shutdown(1.0)
        await asyncio.sleep(0.1)
        assert not self.server.connections

    async def connect(self) -> Streams:
        port = self._listening.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self._writers.append(writer)
        return reader, writer

    async def only_connection(self) -> Connection:
        await asyncio.sleep(0.01)
        (connection,) = self.server.connections
        return connection


class NoSocket(asyncio.Transport):
    closed = False

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


def get(target: str, headers: str = "") -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: g\r\n{headers}\r\n".encode()


def post(target: str, body: bytes) -> bytes:
    return f"POST {target} HTTP/1.1\r\nHost: g\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def error_of(response: Response) -> dict[str, str]:
    return msgspec.json.decode(response.body, type=dict[str, dict[str, str | None]])["error"]  # type: ignore[return-value]


def now() -> float:
    return asyncio.get_running_loop().time()


# --- a request that is there at once ---------------------------------------------------------------------------------


async def test_a_request_that_comes_with_the_connection_may_take_longer_than_its_head_might_have() -> None:
    """Before the connection's task has run for the first time, as with clients that send as soon as they connect."""
    ended: list[float] = []

    async def slow(request: Request, connection: Connection) -> bool:
        await asyncio.sleep(60)
        ended.append(now())
        return False

    async with Site(slow, Edges(head_timeout_s=3)) as site:
        began, transport = now(), NoSocket()
        connection = site.server()
        connection.connection_made(transport)
        connection.data_received(get("/"))
        await asyncio.sleep(59)
        assert not transport.closed
        await asyncio.sleep(2)
        assert ended == [began + 60]
        connection.connection_lost(None)


# --- one after another -----------------------------------------------------------------------------------------------


async def test_requests_that_come_together_are_answered_one_at_a_time_and_in_order() -> None:
    running, most = 0, 0

    async def counting(request: Request, connection: Connection) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(float(request.target[1:]))  # the first takes longest
        running -= 1
        return await echo(request, connection)

    async with Site(counting) as site:
        reader, writer = await site.connect()
        writer.write(b"".join(get(f"/{seconds}") for seconds in (3, 2, 1)))
        assert [(await read_response(reader)).body for _ in range(3)] == [b"/3 ", b"/2 ", b"/1 "]
        assert most == 1


async def test_a_body_that_comes_later_belongs_to_its_own_request() -> None:
    async with Site(_reading) as site:
        reader, writer = await site.connect()
        wire = post("/a", b"hello") + post("/b", b"world")
        for start in range(0, len(wire), 7):
            writer.write(wire[start : start + 7])
            await asyncio.sleep(0.01)
        assert [(await read_response(reader)).body for _ in range(2)] == [b"/a hello", b"/b world"]


async def test_what_comes_ahead_of_its_turn_is_read_within_bounds() -> None:
    async with Site(_never) as site:
        _, writer = await site.connect()
        writer.write(get("/"))
        connection = await site.only_connection()
        for _ in range(200):
            writer.write(post("/more", b"x" * 50_000))
            await asyncio.sleep(0.01)
        assert writer.transport.get_write_buffer_size() > 1_000_000  # the client is kept waiting
        kept = sum(request.body.size for request in connection._waiting)
        assert AHEAD_BYTES_MAX / 2 < kept < 3 * AHEAD_BYTES_MAX


async def test_reading_goes_on_when_its_turn_has_come() -> None:
    async with Site(_reading) as site:
        reader, writer = await site.connect()
        bodies = [b"%d" % number * 300_000 for number in range(5)]
        writer.write(b"".join(post("/", body) for body in bodies))
        for body in bodies:
            assert (await read_response(reader)).body == b"/ " + body


async def test_reading_goes_on_as_turns_come() -> None:
    async with Site() as site:
        reader, writer = await site.connect()
        writer.write(b"".join(post(f"/{number}", b"x" * 20_000) for number in range(100)))
        for number in range(100):
            assert (await read_response(reader)).body == b"/%d " % number + b"x" * 20_000


async def test_a_body_nobody_reads_is_not_kept() -> None:
    async with Site(_never) as site:
        _, writer = await site.connect()
        writer.write(post("/", b"x" * 20_000_000))
        connection = await site.only_connection()
        await asyncio.sleep(5)
        body = connection._parser.body
        assert body is not None and body.size < 3 * AHEAD_BYTES_MAX


async def test_after_a_last_request_nothing_more_is_served() -> None:
    async with Site() as site:
        reader, writer = await site.connect()
        writer.write(get("/last", "Connection: close\r\n") + get("/smuggled"))
        assert (await read_response(reader)).body == b"/last "
        assert await reader.read() == b""


# --- what is no request ----------------------------------------------------------------------------------------------


async def test_garbage_behind_a_request_is_refused_after_its_reply() -> None:
    async with Site() as site:
        reader, writer = await site.connect()
        writer.write(get("/good") + b"GARBAGE\r\n\r\n")
        assert (await read_response(reader)).body == b"/good "
        refusal = await read_response(reader)
        assert (refusal.status, error_of(refusal)["code"]) == (400, "invalid_request")
        assert refusal.headers["x-request-id"] == "id-1"
        assert refusal.headers["connection"] == "close"
        assert await reader.read() == b""


async def test_a_head_that_is_too_large_is_named() -> None:
    async with Site() as site:
        reader, writer = await site.connect()
        writer.write(get("/", "X: " + "y" * 20_000 + "\r\n"))
        refusal = await read_response(reader)
        assert (refusal.status, error_of(refusal)["code"]) == (431, "headers_too_large")


async def test_a_handler_that_fails_is_a_500_and_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(request: Request, connection: Connection) -> bool:
        raise ZeroDivisionError("a defect")

    async with Site(failing) as site:
        reader, writer = await site.connect()
        with caplog.at_level(logging.ERROR):
            writer.write(get("/"))
            response = await read_response(reader)
        assert (response.status, error_of(response)["code"]) == (500, "internal")
        assert b"a defect" not in response.body
        assert "ZeroDivisionError" in caplog.text
        assert await reader.read() == b""


async def test_a_handler_that_fails_in_the_middle_of_its_reply_leaves_a_cut() -> None:
    async def failing(request: Request, connection: Connection) -> bool:
        connection.write(wire.head(200, JSON, framing="Content-Length: 100", keep_alive=True, chunks=True) + b"half")
        raise ZeroDivisionError("a defect")

    async with Site(failing) as site:
        reader, writer = await site.connect()
        writer.write(get("/"))
        with pytest.raises(ConnectionResetError):
            await read_response(reader)


# --- a client that leaves --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "abort", "half"])
async def test_a_client_that_leaves_ends_what_it_asked_for_at_once(how: str) -> None:
    ended: list[float] = []

    async def noting(request: Request, connection: Connection) -> bool:
        try:
            return await _never(request, connection)
        finally:
            ended.append(now())

    async with Site(noting) as site:
        _, writer = await site.connect()
        writer.write(get("/") + get("/next"))
        await asyncio.sleep(5)
        assert not ended
        left_at = now()
        if how == "half":
            writer.write_eof()
        elif how == "abort":
            writer.transport.abort()  # type: ignore[attr-defined]
        else:
            writer.close()
        await asyncio.sleep(1)
        assert [at - left_at <= 0.1 for at in ended] == [True]  # and the next one never began
        assert not site.server.connections


async def test_a_write_to_a_client_that_has_left_says_so() -> None:
    found: list[str] = []

    async def stubborn(request: Request, connection: Connection) -> bool:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            try:
                connection.write(b"too late")
            except ConnectionError as error:
                found.append(str(error))
            raise
        return True

    async with Site(stubborn) as site:
        _, writer = await site.connect()
        writer.write(get("/"))
        await asyncio.sleep(1)
        writer.transport.abort()  # type: ignore[attr-defined]
        await asyncio.sleep(1)
        assert found == ["the client has left"]


# --- a client that is slow -------------------------------------------------------------------------------------------


async def test_a_writer_waits_for_a_reader_that_pauses() -> None:
    size, sent = 200_000, 0

    async def pouring(request: Request, connection: Connection) -> bool:
        nonlocal sent
        for _ in range(20):
            connection.write(b"x" * size)
            await connection.drain()
            sent += 1
        return False

    async with Site(pouring) as site:
        reader, writer = await site.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(get("/"))
        await asyncio.sleep(10)
        assert sent < 20
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len(await reader.read()) == 20 * size
        assert sent == 20


async def test_a_refused_client_that_still_sends_can_read_why() -> None:
    async def refusing(request: Request, connection: Connection) -> bool:
        reply(connection, b"too large", keep_alive=False)
        return False

    async with Site(refusing) as site:
        reader, writer = await site.connect()
        writer.write(post("/", b"x" * 30_000_000))  # far more than the kernel takes in
        await asyncio.sleep(1)
        assert (await read_response(reader)).body == b"too large"
        assert await reader.read() == b""


async def test_a_refused_client_that_never_stops_sending_is_cut_off() -> None:
    async with Site() as site:
        reader, writer = await site.connect()
        began = now()
        writer.write(b"GARBAGE\r\n\r\n")
        assert (await read_response(reader)).status == 400
        while site.server.connections and now() < began + 60:
            writer.write(b"x" * 1000)
            await asyncio.sleep(0.1)
        assert FAREWELL_S <= now() - began <= FAREWELL_S + 1


async def test_a_reply_that_is_never_taken_does_not_keep_its_connection_for_ever() -> None:
    async def big(request: Request, connection: Connection) -> bool:
        reply(connection, b"x" * 20_000_000, keep_alive=False)
        return False

    async with Site(big, Edges(keepalive_s=75)) as site:
        _, writer = await site.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(get("/"))
        await asyncio.sleep(70)
        assert site.server.connections
        await asyncio.sleep(10)
        assert not site.server.connections


# --- waits for a client ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [b"", b"G", b"GET / HTTP/1.1\r\nHost: g\r\n", b"\r\n"])
async def test_a_first_head_has_its_time_from_connecting_on(first: bytes) -> None:
    async with Site(edges=Edges(head_timeout_s=10)) as site:
        reader, writer = await site.connect()
        began = now()
        await asyncio.sleep(5)
        writer.write(first)
        assert await reader.read() == b""
        assert 9.9 <= now() - began <= 10.5


@pytest.mark.parametrize("together", [False, True], ids=["later", "with the request before"])
async def test_a_later_head_has_its_time_from_its_first_byte_on(together: bool) -> None:
    async with Site(edges=Edges(head_timeout_s=10, keepalive_s=75)) as site:
        reader, writer = await site.connect()
        writer.write(get("/") + (b"GET /lon" if together else b""))
        await read_response(reader)
        if not together:
            await asyncio.sleep(40)
            writer.write(b"GET /lon")
        began = now()
        while site.server.connections and now() < began + 60:
            if not together:
                writer.write(b"g")
            await asyncio.sleep(1)
        assert 9 <= now() - began <= 12


async def test_an_idle_connection_is_kept_for_its_time_after_every_reply() -> None:
    async with Site(edges=Edges(keepalive_s=75)) as site:
        reader, writer = await site.connect()
        for _ in range(3):
            writer.write(get("/"))
            assert (await read_response(reader)).status == 200
            began = now()
            await asyncio.sleep(70)
        assert await reader.read() == b""
        assert 74.9 <= now() - began <= 75.5


async def test_a_request_that_runs_long_is_not_idle() -> None:
    async def slow(request: Request, connection: Connection) -> bool:
        await asyncio.sleep(500)
        return await echo(request, connection)

    async with Site(slow) as site:
        reader, writer = await site.connect()
        for _ in range(2):
            writer.write(get("/"))
            assert (await read_response(reader)).status == 200


async def test_requests_on_a_kept_connection_make_no_timers() -> None:
    async with Site() as site:
        reader, writer = await site.connect()
        connection = await site.only_connection()
        timers = set()
        for _ in range(50):
            writer.write(get("/"))
            await read_response(reader)
            timers.add(connection._timer)
        assert len(timers) == 1


async def test_a_timer_that_comes_a_hair_early_does_not_come_again_and_again() -> None:
    """Sums of instants are rounded, so that the clock may stand just before the instant that was asked for."""
    async with Site() as site:
        connection, transport = site.server(), NoSocket()
        connection.connection_made(transport)
        assert connection._timer is not None and connection._timer.when() > now()
        connection._timer.cancel()
        connection._look()
        assert (transport.closed, connection._timer) == (True, None)
        connection.connection_lost(None)


# --- the end of the gate ---------------------------------------------------------------------------------------------


async def test_a_stop_closes_idle_connections_and_lets_the_others_reply_once_more() -> None:
    async with Site() as site:
        (idle, idle_writer), (busy, busy_writer) = [await site.connect() for _ in range(2)]
        idle_writer.write(get("/"))
        await read_response(idle)
        busy_writer.write(get("/running") + get("/not any more"))
        await asyncio.sleep(0.05)
        site.server.pre_shutdown()
        began = now()
        assert await idle.read() == b""
        assert now() - began < 0.01
        assert (await read_response(busy)).body == b"/running "
        assert await busy.read() == b""


async def test_a_request_that_comes_just_before_a_stop_is_answered() -> None:
    async with Site() as site:
        reader, _ = await site.connect()
        connection = await site.only_connection()
        connection.data_received(get("/in-time"))
        site.server.pre_shutdown()
        assert (await read_response(reader)).body == b"/in-time "
        assert await reader.read() == b""


async def test_a_connection_that_is_stopped_before_it_began_is_closed() -> None:
    async with Site() as site:
        connection, transport = site.server(), NoSocket()
        connection.connection_made(transport)
        site.server.pre_shutdown()
        assert not transport.closed
        await asyncio.sleep(0.1)
        assert transport.closed
        connection.connection_lost(None)


async def test_a_shutdown_waits_for_what_runs_and_then_ends_it() -> None:
    ended: list[bool] = []

    async def waiting(request: Request, connection: Connection) -> bool:
        try:
            await asyncio.sleep(float(request.target[1:]))
        except asyncio.CancelledError:
            ended.append(False)
            raise
        ended.append(True)
        return True

    async with Site(waiting) as site:
        for seconds in (1, 100):
            _, writer = await site.connect()
            writer.write(get(f"/{seconds}"))
        await asyncio.sleep(0.1)
        began = now()
        await site.server.shutdown(5.0)
        assert ended == [True, False]
        assert 4.9 <= now() - began <= 5.5
        await asyncio.sleep(0.1)
        assert not site.server.connections


async def test_a_shutdown_waits_for_no_farewell() -> None:
    async with Site() as site:
        reader, writer = await site.connect()
        writer.write(b"GARBAGE\r\n\r\n")
        assert (await read_response(reader)).status == 400
        began = now()
        await site.server.shutdown(1.0)
        await asyncio.sleep(0.01)
        assert not site.server.connections
        assert now() - began < FAREWELL_S / 2


async def test_connections_beyond_the_limit_are_closed_until_others_have_left() -> None:
    async with Site(edges=Edges(connections_max=2)) as site:
        kept = [await site.connect() for _ in range(2)]
        reader, _ = await site.connect()
        assert await reader.read() == b""
        assert (site.server.refused, len(site.server.connections)) == (1, 2)
        kept[0][1].close()
        await asyncio.sleep(0.1)
        reader, writer = await site.connect()
        writer.write(get("/"))
        assert (await read_response(reader)).status == 200


async def test_a_connection_shows_what_it_is_doing() -> None:
    async with Site(_never) as site:
        _, writer = await site.connect()
        connection = await site.only_connection()
        assert repr(connection) == "Connection(idle, RequestParser(idle))"
        writer.write(get("/") + get("/"))
        await asyncio.sleep(0.1)
        assert repr(connection) == "Connection(serving, 1 waiting, RequestParser(idle))"
        assert repr(site.server) == "Server(1 connections, 0 refused)"


async def _never(request: Request, connection: Connection) -> bool:
    await asyncio.sleep(100_000)
    raise AssertionError("nobody waits so long")


async def _reading(request: Request, connection: Connection) -> bool:
    connection.read_on()
    waiting: Awaitable[None] = request.body.arrive(10_000_000)
    await waiting
    return await echo(request, connection)
