"""A client that leaves stops the upstream at once, is billed by the provider's rule, and has exactly one outcome."""

from __future__ import annotations

import asyncio

import pytest

from proxy.types import AbortRule
from tests.flow.world import DONE, FINISH, REPLY, USAGE, Peer, World, head, streaming, token

STREAM = b'{"model":"m","messages":[],"stream":true,"max_tokens":1000}'
PLAIN = b'{"model":"m","messages":[],"max_tokens":1000}'


class Watched:
    """An upstream that notes when the gate hung up on it."""

    def __init__(self, before: float, *, content: bool) -> None:
        self.closed_at: float | None = None
        self.asked = asyncio.Event()
        self._before = before
        self._content = content

    async def __call__(self, peer: Peer) -> None:
        self.asked.set()
        loop = asyncio.get_running_loop()
        try:
            if self._content:
                await peer.stream_head()
                await peer.chunk(token("a"))
            await asyncio.wait_for(peer.gone(), self._before)
            self.closed_at = loop.time()
        except TimeoutError:
            return
        raise ConnectionResetError


@pytest.mark.parametrize("content", [False, True], ids=["before the first token", "mid-stream"])
@pytest.mark.parametrize("body", [STREAM, PLAIN], ids=["stream", "plain"])
async def test_the_upstream_is_stopped_within_a_tenth_of_a_second(content: bool, body: bytes) -> None:
    upstream = Watched(1000, content=content)
    async with World(upstream) as world:
        _, writer = await world.connect()
        writer.write(head(body, path="/v1/chat/completions") + body)
        await upstream.asked.wait()
        await asyncio.sleep(5)
        left_at = asyncio.get_running_loop().time()
        writer.close()
        await asyncio.sleep(1)
        assert upstream.closed_at is not None
        assert upstream.closed_at - left_at <= 0.1
        (outcome,) = world.outcomes
        assert outcome.client_gone
        assert len(outcome.attempts) == 1


@pytest.mark.parametrize(
    ("abort", "output"),
    [("stops", range(1, 20)), ("unknown", range(1000, 1001))],
)
async def test_what_is_billed_follows_the_providers_abort_rule(abort: AbortRule, output: range) -> None:
    upstream = Watched(1000, content=True)
    async with World(upstream, abort=abort) as world:
        reader, writer = await world.connect()
        writer.write(head(STREAM, path="/v1/chat/completions") + STREAM)
        await reader.readuntil(b'"a"')
        writer.close()
        await asyncio.sleep(1)
        usage = world.outcomes[0].attempts[0].usage
        assert usage is not None
        assert usage.output in output
        assert usage.source == "estimated"


@pytest.mark.parametrize("body", [STREAM, PLAIN], ids=["stream", "plain"])
async def test_where_the_provider_bills_on_the_reply_is_read_to_its_end_for_the_bill(body: bytes) -> None:
    async def going_on(peer: Peer) -> None:
        if body is PLAIN:
            await peer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            await peer.write(b"Content-Length: %d\r\n\r\n" % len(REPLY) + REPLY[:20])
            await asyncio.sleep(20)
            await peer.write(REPLY[20:])
            return
        await peer.stream_head()
        await peer.chunk(token("a"))
        await asyncio.sleep(20)
        await peer.chunk(token("b") + FINISH + USAGE + DONE)
        await peer.end()

    async with World(going_on, abort="continues") as world:
        _, writer = await world.connect()
        writer.write(head(body, path="/v1/chat/completions") + body)
        await asyncio.sleep(5)
        writer.close()
        await asyncio.sleep(1)
        assert world.outcomes == []
        await asyncio.sleep(30)
        (outcome,) = world.outcomes
        usage = outcome.attempts[0].usage
        assert usage is not None
        assert (usage.output, usage.source, outcome.client_gone) == (5, "reported", True)


async def test_a_drain_that_takes_too_long_is_billed_as_held() -> None:
    upstream = Watched(10_000, content=True)
    async with World(upstream, abort="continues") as world:
        _, writer = await world.connect()
        writer.write(head(STREAM, path="/v1/chat/completions") + STREAM)
        await upstream.asked.wait()
        await asyncio.sleep(5)
        writer.close()
        await asyncio.sleep(70)
        usage = world.outcomes[0].attempts[0].usage
        assert usage is not None
        assert usage.output == 1000


async def test_closing_right_after_the_last_event_is_a_success() -> None:
    async with World(streaming) as world:
        reader, writer = await world.connect()
        writer.write(head(STREAM, path="/v1/chat/completions") + STREAM)
        await reader.readuntil(b"[DONE]")
        writer.close()
        await asyncio.sleep(2)
        (outcome,) = world.outcomes
        assert (outcome.client_gone, outcome.error_code) == (False, None)


async def test_leaving_in_the_middle_of_the_upload_is_one_outcome_and_no_call_upstream() -> None:
    async with World(streaming) as world:
        _, writer = await world.connect()
        writer.write(head(b"", path="/v1/chat/completions", headers="Content-Length: 5000\r\n") + b'{"mod')
        await asyncio.sleep(1)
        writer.close()
        await asyncio.sleep(1)
        (outcome,) = world.outcomes
        assert (outcome.error_code, outcome.attempts) == ("client_closed", ())


async def test_a_half_close_counts_as_leaving() -> None:
    upstream = Watched(1000, content=False)
    async with World(upstream) as world:
        _, writer = await world.connect()
        writer.write(head(STREAM, path="/v1/chat/completions") + STREAM)
        await upstream.asked.wait()
        writer.write_eof()
        await asyncio.sleep(1)
        assert upstream.closed_at is not None
        assert world.outcomes[0].client_gone
