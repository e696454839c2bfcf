from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from loadtests.upstream import Bill, Settings, start


class Caller:
    """A bare HTTP/1.1 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, body: bytes, *, path: str = "/v1/chat/completions", more: str = "") -> None:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {len(body)}\r\n\r\n"
        self.write(head.encode() + body)

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def head(self) -> tuple[bytes, dict[str, str]]:
        lines = (await self._reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        return lines[0], dict(line.decode().split(": ", 1) for line in lines[1:-2])

    async def reply(self) -> tuple[bytes, bytes]:
        """Status line and body, whichever way it is framed."""
        status, headers = await self.head()
        if "content-length" in headers:
            return status, await self._reader.readexactly(int(headers["content-length"]))
        body = b""
        while size := int(await self._reader.readline(), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readline()
        return status, body

    async def chunk(self) -> bytes:
        size = int(await self._reader.readline(), 16)
        return (await self._reader.readexactly(size + 2))[:-2]

    def reset(self) -> None:
        self._writer.transport.abort()

    async def ended(self) -> bool:
        try:
            return not await self._reader.read(1)
        except ConnectionError:
            return True


@asynccontextmanager
async def caller(settings: Settings, bill: Bill) -> AsyncIterator[Caller]:
    server = await start("127.0.0.1", 0, settings=settings, bill=bill)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # a reader that stops is felt after a few chunks
    sock.connect(server.sockets[0].getsockname())
    reader, writer = await asyncio.open_connection(sock=sock)
    try:
        yield Caller(reader, writer)
    finally:
        writer.close()
        server.close()


def events(body: bytes) -> list[dict[str, object]]:
    lines = [line[6:] for line in body.split(b"\n\n") if line]
    assert lines[-1] == b"[DONE]"
    return [json.loads(line) for line in lines[:-1]]


ASKED = b'{"model":"m","user":"n-1","messages":[]}'
STREAMED = b'{"model":"m","user":"n-2","stream":true,"stream_options":{"include_usage":true}}'


async def test_a_reply_repeats_model_and_nonce_and_says_what_it_costs() -> None:
    async with caller(Settings(tokens=3), bill := Bill()) as client:
        client.send(ASKED)
        status, body = await client.reply()
        reply = json.loads(body)
        client.send(ASKED, more="X-Nonce: from-header\r\n")
        other = json.loads((await client.reply())[1])
    assert status == b"HTTP/1.1 200 OK"
    assert (reply["id"], reply["system_fingerprint"], reply["model"]) == ("chatcmpl-n-1", "n-1", "m")
    assert reply["usage"] == {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
    assert other["id"] == "chatcmpl-from-header"
    assert (bill.requests, bill.prompt_tokens, bill.completion_tokens) == (2, 20, 6)


async def test_a_stream_counts_its_chunks_and_keeps_its_pace() -> None:
    async with caller(Settings(tokens=4, first_ms=500, interval_ms=100), bill := Bill()) as client:
        began = asyncio.get_running_loop().time()
        client.send(STREAMED)
        said = events((await client.reply())[1])
        took = asyncio.get_running_loop().time() - began
    texts = [chunk["choices"][0]["delta"].get("content") for chunk in said[:-1]]  # type: ignore[index]
    assert texts == ["", "0 ", "1 ", "2 ", "3 ", None]
    assert said[-1]["usage"] == {"prompt_tokens": 20, "completion_tokens": 4, "total_tokens": 24}
    assert {chunk["system_fingerprint"] for chunk in said} == {"n-2"}
    assert took == pytest.approx(0.9, abs=0.01)
    assert (bill.streams, bill.streams_open, bill.completion_tokens) == (1, 0, 4)


async def test_a_stamped_stream_says_whose_it_is_which_chunk_and_when_it_was_written() -> None:
    asked = b'{"user":"7","stream":true,"max_tokens":3,"stream_options":{"include_usage":true}}'
    async with caller(Settings(form="stamped", interval_ms=100), bill := Bill()) as client:
        began = asyncio.get_running_loop().time()
        client.send(asked)
        *chunks, stop, usage = events((await client.reply())[1])
        took = asyncio.get_running_loop().time() - began
        client.send(asked.replace(b'"stream":true,', b""))
        plain = json.loads((await client.reply())[1])
    texts = [chunk["choices"][0]["delta"]["content"] for chunk in chunks]  # type: ignore[index]
    assert [text.split("@")[0] for text in texts] == [" 7/0", " 7/1", " 7/2"]
    stamps = [int(text.split("@")[1]) for text in texts]
    assert stamps == sorted(stamps) and stamps[0] > 0
    assert stop["choices"][0]["finish_reason"] == "stop"  # type: ignore[index]
    assert usage["usage"]["completion_tokens"] == 3  # type: ignore[index]
    assert 0.29 <= took <= 0.31
    assert plain["id"] == "chatcmpl-7"
    assert (bill.prompt_tokens, bill.completion_tokens) == (2 * 412, 3 + plain["usage"]["completion_tokens"])


async def test_usage_comes_only_to_those_who_ask() -> None:
    async with caller(Settings(tokens=1), Bill()) as client:
        client.send(b'{"stream": true}')
        assert b"usage" not in (await client.reply())[1]


async def test_pipelined_requests_are_answered_in_order_also_behind_a_stream() -> None:
    async with caller(Settings(tokens=2, interval_ms=10, delay_ms=10), Bill()) as client:
        for number in range(6):
            client.send(b'{"user":"p%d","stream":%b}' % (number, b"true" if number % 2 else b"false"))
        for number in range(6):
            assert b'"id":"chatcmpl-p%d"' % number in (await client.reply())[1]


async def test_a_request_may_come_in_any_pieces() -> None:
    wire = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(ASKED), ASKED)
    async with caller(Settings(), Bill()) as client:
        for at in range(0, len(wire), 7):
            client.write(wire[at : at + 7])
            await asyncio.sleep(0.001)
        assert b"chatcmpl-n-1" in (await client.reply())[1]


async def test_a_stream_that_is_left_costs_what_was_sent_until_then() -> None:
    async with caller(Settings(tokens=100, interval_ms=100), bill := Bill()) as client:
        client.send(STREAMED)
        await client.head()
        for _ in range(4):
            await client.chunk()
        client.reset()
        await asyncio.sleep(1)
        assert (bill.streams_cancelled, bill.streams_open, bill.connections_open) == (1, 0, 0)
        assert bill.completion_tokens == 3
        await asyncio.sleep(60)
        assert bill.completion_tokens == 3


async def test_a_reply_that_is_left_while_it_is_made_costs_nothing() -> None:
    async with caller(Settings(delay_ms=5000), bill := Bill()) as client:
        client.send(ASKED)
        await asyncio.sleep(1)
        client.reset()
        await asyncio.sleep(10)
        assert (bill.replies_cancelled, bill.completion_tokens) == (1, 0)


@pytest.mark.slow
async def test_a_reader_that_stops_stops_the_stream() -> None:
    async with caller(Settings(tokens=1_000_000, interval_ms=0.001), bill := Bill()) as client:
        client.send(STREAMED)
        await client.head()
        await asyncio.sleep(60)
        made = bill.completion_tokens
        await asyncio.sleep(60)
        assert made == bill.completion_tokens < 1_000_000


async def test_errors_and_cuts_come_as_often_as_they_were_ordered() -> None:
    async with caller(Settings(tokens=4, error_every=2, cut_every=2), bill := Bill()) as client:
        client.send(STREAMED)
        assert b"[DONE]" in (await client.reply())[1]
        client.send(ASKED)
        status, body = await client.reply()
        assert (status, "error" in json.loads(body)) == (b"HTTP/1.1 503 Service Unavailable", True)
        client.send(STREAMED)
        await client.head()
        for _ in range(3):
            await client.chunk()
        assert await client.ended()
    assert (bill.errors, bill.streams_cut, bill.streams_cancelled, bill.completion_tokens) == (1, 1, 0, 6)


async def test_its_bill_can_be_asked_for_and_does_not_count_itself() -> None:
    async with caller(Settings(tokens=1), Bill()) as client:
        client.send(ASKED)
        await client.reply()
        client.send(b"", path="/__bill")
        told = json.loads((await client.reply())[1])
    assert (told["requests"], told["connections"], told["completion_tokens"]) == (1, 1, 1)


async def test_what_it_does_not_know_it_refuses() -> None:
    async with caller(Settings(), Bill()) as client:
        client.send(b"{}", path="/v1/audio/speech")
        assert (await client.reply())[0] == b"HTTP/1.1 404 Not Found"
        client.send(b"", path="/v1/models")
        assert json.loads((await client.reply())[1])["object"] == "list"
        client.write(b"POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert (await client.reply())[0] == b"HTTP/1.1 411 Length Required"
        assert await client.ended()


async def test_who_waits_to_be_asked_for_the_body_is_asked() -> None:
    async with caller(Settings(), Bill()) as client:
        client.write(b"POST /v1/chat/completions HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert (await client.head())[0] == b"HTTP/1.1 100 Continue"
        client.write(b"{}")
        assert (await client.reply())[0] == b"HTTP/1.1 200 OK"
