"""F67 and F68: clients that leave or do not read, wherever the answer is; the upstream stops, or bills it whole."""

from __future__ import annotations

import asyncio
import socket

import pytest
from msgspec import Struct

from loadtests.upstream.bill import Entry
from proxy.types import AbortRule, Outcome
from tests.faults.world import LIMITS, FaultWorld, Server
from tests.flow.world import head

pytestmark = pytest.mark.slow

PATH = "/v1/chat/completions"
STREAM = b'{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":5000,"stream":true}'
PLAIN = STREAM.replace(b',"stream":true', b"")
SLOWLY = [{"answer": {"tokens": 100, "interval": 0.1}}]
GUARD_TOKENS = 16
SEND_BYTES = 64 * 1024  # in the upstream's own socket, which nobody else can bound
BYTES_A_TOKEN = 200  # of an event, about


class Leaving(Struct, frozen=True):
    """`after_s`: the client leaves; `half`: only its own direction is closed."""

    about: str
    script: list[object]
    after_s: float
    half: bool = False


LEAVINGS = (
    Leaving("before the head", [{"wait": 9}, {"answer": {"tokens": 5}}], 3.0),
    Leaving("before the first token", ["stream", {"wait": 9}, {"tokens": 5}, "finish", "usage", "done", "end"], 3.0),
    Leaving("mid-stream", SLOWLY, 3.05),
    Leaving("mid-stream, half", SLOWLY, 3.05, half=True),
)


@pytest.mark.parametrize("abort", ["stops", "continues"])
@pytest.mark.parametrize("body", [STREAM, PLAIN], ids=["stream", "plain"])
@pytest.mark.parametrize("leaving", LEAVINGS, ids=[leaving.about for leaving in LEAVINGS])
async def test_a_client_that_leaves(leaving: Leaving, body: bytes, abort: AbortRule) -> None:
    server = Server(leaving.script, abort=abort)
    async with FaultWorld(server, abort=abort) as world:
        _, writer = await world.connect()
        writer.write(head(body, path=PATH) + body)
        await asyncio.sleep(leaving.after_s)
        left_at = asyncio.get_running_loop().time()
        if leaving.half:
            writer.write_eof()
        else:
            writer.close()
        await asyncio.sleep(70)
    (entry,) = server.entries
    (attempt,) = world.outcome.attempts
    assert world.outcome.client_gone
    assert attempt.usage is not None
    assert entry.ended_at is not None
    begun = body is STREAM and leaving.about != "before the head"  # else nobody saw what was made
    assert attempt.usage.output_total >= entry.completion_tokens
    if abort == "stops":
        assert entry.ended == "left"
        assert entry.ended_at - left_at <= 0.1
        assert not begun or attempt.usage.output_total <= 1.25 * entry.completion_tokens + GUARD_TOKENS
    elif begun:
        assert entry.ended == "whole"
        told = (attempt.usage.input_total, attempt.usage.output_total, attempt.usage.source)
        assert told == (entry.prompt_tokens, entry.completion_tokens, "reported")


async def test_a_client_that_leaves_in_its_upload_costs_nothing() -> None:
    server = Server([])
    async with FaultWorld(server) as world:
        _, writer = await world.connect()
        writer.write(head(b"", path=PATH, headers="Content-Length: 5000\r\n") + STREAM[:20])
        await asyncio.sleep(2)
        writer.close()
        await asyncio.sleep(2)
    assert (world.outcome.error_code, world.outcome.attempts, server.entries) == ("client_closed", (), [])


@pytest.mark.parametrize("body", [STREAM, PLAIN], ids=["stream", "plain"])
async def test_a_client_that_leaves_after_the_last_byte_was_served(body: bytes) -> None:
    server = Server([])
    async with FaultWorld(server) as world:
        await world.request(body)
        await asyncio.sleep(3)
    (entry,) = server.entries
    assert (entry.ended, world.outcome.client_gone, world.outcome.error_code) == ("whole", False, None)


async def unread(abort: AbortRule) -> tuple[Entry, Outcome, float]:
    """What became of an answer whose client reads nothing of it; when it was asked for."""
    server = Server(["stream", "role", "endless"], abort=abort, send_bytes=SEND_BYTES)
    async with FaultWorld(server, abort=abort) as world:
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", world.port))
        body = STREAM.replace(b"5000", b"900000")
        began = loop.time()
        await loop.sock_sendall(sock, head(body, path=PATH) + body)
        await asyncio.sleep(200)
        sock.close()
    (entry,) = server.entries
    return entry, world.outcome, began


@pytest.mark.parametrize("abort", ["stops", "continues"])
async def test_a_client_that_does_not_read_is_cut_off(abort: AbortRule) -> None:
    entry, outcome, began = await unread(abort)
    assert outcome.client_gone
    assert outcome.duration_s < 100
    assert entry.ended_at is not None
    if abort == "stops":
        assert entry.ended == "left"
        assert entry.ended_at - began <= LIMITS.write_timeout_s + 1


async def test_where_the_provider_goes_on_all_of_it_is_charged_though_nobody_read_it() -> None:
    entry, outcome, _ = await unread("continues")
    usage = outcome.attempts[0].usage
    assert usage is not None
    assert usage.output_total >= entry.completion_tokens


async def test_where_it_stops_what_was_made_for_nobody_is_charged_and_little() -> None:
    entry, outcome, _ = await unread("stops")
    usage = outcome.attempts[0].usage
    assert usage is not None
    assert entry.completion_tokens * BYTES_A_TOKEN <= 1024 * 1024
    assert usage.output_total >= entry.completion_tokens * 0.75
