"""Streams through the whole gate: nothing lost, nothing added, and never a clean end that the upstream did not give."""

from __future__ import annotations

import asyncio

import pytest

from proxy.snapshot import AgentRules, Limits
from tests.flow.world import (
    DONE,
    FINISH,
    ROLE,
    USAGE,
    Peer,
    World,
    head,
    read_response,
    streaming,
    token,
)

STREAM = b'{"model":"m","messages":[],"stream":true}'


async def test_a_stream_passes_byte_for_byte_without_the_usage_nobody_asked_for() -> None:
    async with World(streaming) as world:
        response = await world.stream()
        assert response.complete
        assert response.body == ROLE + token("hel") + token("lo") + FINISH + DONE
        (outcome,) = world.outcomes
        assert outcome.cost_usd_nanos == 20_000
        assert outcome.first_event_s is not None
        assert outcome.gaps is not None


async def test_the_usage_event_goes_to_who_asked_for_it() -> None:
    async with World(streaming) as world:
        response = await world.stream(
            b'{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}'
        )
        assert USAGE in response.body


async def test_the_upstream_is_asked_for_usage_in_any_case() -> None:
    async with World(streaming) as world:
        await world.stream()
        ((_, body),) = world.upstreams[0].requests
        assert b'"stream_options":{"include_usage":true}' in body


async def test_an_upstream_that_does_not_know_the_option_is_not_asked_and_its_text_is_counted() -> None:
    async def silent(peer: Peer) -> None:
        await peer.stream_head()
        for event in (ROLE, token("one two"), token(" three"), FINISH, DONE):
            await peer.chunk(event)
        await peer.end()

    async with World(silent, stream_usage=False) as world:
        await world.stream()
        ((_, body),) = world.upstreams[0].requests
        assert b"stream_options" not in body
        usage = world.outcomes[0].attempts[0].usage
        assert usage is not None
        assert (usage.output, usage.source) == (3, "counted")


async def test_events_reach_the_client_as_they_come_and_not_in_batches() -> None:
    async def slow(peer: Peer) -> None:
        await peer.stream_head()
        for event in (token("a"), token("b"), token("c"), FINISH, DONE):
            await peer.chunk(event)
            await asyncio.sleep(1.0)
        await peer.end()

    async with World(slow) as world:
        loop = asyncio.get_running_loop()
        reader, writer = await world.connect()
        writer.write(head(STREAM, path="/v1/chat/completions") + STREAM)
        began = loop.time()
        seen = []
        for text in (b'"a"', b'"b"', b'"c"'):
            await reader.readuntil(text)
            seen.append(round(loop.time() - began))
        assert seen == [0, 1, 2]
        writer.close()


async def test_a_cut_stream_ends_in_an_error_event_and_an_aborted_connection() -> None:
    async def cut(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(ROLE + token("hel"))
        await asyncio.sleep(0.1)
        peer.reset()

    async with World(cut) as world:
        response = await world.stream()
        assert not response.complete
        assert response.body.startswith(ROLE + token("hel"))
        assert b'"code":"upstream_broken"' in response.body
        assert b"[DONE]" not in response.body
        (outcome,) = world.outcomes
        assert (outcome.error_code, outcome.attempts[0].lesson) == ("upstream_broken", "failure")
        usage = outcome.attempts[0].usage
        assert usage is not None
        assert (usage.source, usage.output > 0, usage.input_total > 0) == ("estimated", True, True)


async def test_a_clean_close_without_an_end_marker_is_a_cut() -> None:
    async def truncated(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(ROLE + token("hel"))
        await asyncio.sleep(0.1)
        await peer.end()

    async with World(truncated) as world:
        response = await world.stream()
        assert not response.complete
        assert b'"error"' in response.body
        assert world.outcomes[0].error_code == "upstream_broken"


async def test_a_finish_reason_without_a_done_marker_is_complete_and_none_is_invented() -> None:
    async def no_done(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(ROLE + token("hel") + FINISH)
        await peer.end()

    async with World(no_done) as world:
        response = await world.stream()
        assert response.complete
        assert response.body == ROLE + token("hel") + FINISH
        assert world.outcomes[0].error_code is None


async def test_a_last_event_without_its_blank_line_still_arrives() -> None:
    async def hurried(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(token("a") + FINISH + b"data: [DONE]")
        await peer.end()

    async with World(hurried) as world:
        response = await world.stream()
        assert response.complete
        assert response.body == token("a") + FINISH + b"data: [DONE]"


async def test_an_error_object_after_content_is_forwarded_once_and_ends_the_connection() -> None:
    fault = b'data: {"error":{"message":"boom","type":"server_error","code":"x"}}\n\n'

    async def failing(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(token("a"))
        await asyncio.sleep(0.1)
        await peer.chunk(fault)
        await peer.chunk(DONE)
        await peer.end()

    async with World(failing) as world:
        response = await world.stream()
        assert not response.complete
        assert response.body.count(b'"error"') == 1
        assert b"[DONE]" not in response.body
        assert world.outcomes[0].error_code is not None


async def test_silence_in_the_middle_is_ended_with_a_typed_error() -> None:
    async def stalling(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(token("a"))
        await asyncio.sleep(10_000)

    async with World(stalling, rules=AgentRules(idle_timeout_s=60)) as world:
        loop = asyncio.get_running_loop()
        began = loop.time()
        response = await world.stream()
        assert 60 <= loop.time() - began < 62
        assert b'"code":"upstream_stalled"' in response.body
        assert not response.complete


async def test_the_deadline_ends_a_stream_that_never_stops() -> None:
    async def endless(peer: Peer) -> None:
        await peer.stream_head()
        while True:
            await peer.chunk(token("a"))
            await asyncio.sleep(1)

    async with World(endless) as world:
        loop = asyncio.get_running_loop()
        began = loop.time()
        response = await world.stream(headers="X-Headgate-Deadline: 30\r\n")
        assert 30 <= loop.time() - began < 31
        assert b'"code":"deadline_exceeded"' in response.body
        assert world.outcomes[0].error_code == "deadline_exceeded"


async def test_a_silent_stream_is_kept_alive_by_comments_only_after_its_first_event() -> None:
    async def pausing(peer: Peer) -> None:
        await asyncio.sleep(40)
        await peer.stream_head()
        await peer.chunk(token("a"))
        await asyncio.sleep(40)
        await peer.chunk(FINISH + DONE)
        await peer.end()

    async with World(pausing) as world:
        response = await world.stream()
        assert response.body == token("a") + b": keep-alive\n\n" * 2 + FINISH + DONE


async def test_what_comes_after_the_end_marker_is_not_forwarded() -> None:
    async def chatty(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(token("a") + FINISH + DONE)
        await peer.chunk(token("more") + USAGE)
        await peer.end()

    async with World(chatty) as world:
        response = await world.stream()
        assert response.body == token("a") + FINISH + DONE
        usage = world.outcomes[0].attempts[0].usage
        assert usage is not None
        assert (usage.output, usage.source) == (5, "reported")


async def test_an_upstream_that_lingers_after_the_end_delays_nobody() -> None:
    async def lingering(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(token("a") + FINISH + DONE)
        await asyncio.sleep(1000)

    async with World(lingering) as world:
        loop = asyncio.get_running_loop()
        began = loop.time()
        response = await world.stream()
        assert response.complete
        assert loop.time() - began < 0.5


@pytest.mark.parametrize("size", [100_000, 2_000_000])
async def test_a_huge_event_passes_whole(size: int) -> None:
    big = token("x" * size)

    async def huge(peer: Peer) -> None:
        await peer.stream_head()
        for start in range(0, len(big), 50_000):
            await peer.chunk(big[start : start + 50_000])
        await peer.chunk(FINISH + DONE)
        await peer.end()

    async with World(huge) as world:
        response = await world.stream()
        assert response.body == big + FINISH + DONE


async def test_a_client_that_reads_too_slowly_is_let_go_and_the_upstream_closed() -> None:
    closed = asyncio.Event()

    async def flood(peer: Peer) -> None:
        try:
            await peer.stream_head()
            for _ in range(2000):
                await peer.chunk(token("x" * 10_000))
        except ConnectionError:
            closed.set()
            raise

    async with World(flood, limits=Limits(write_timeout_s=30)) as world:
        reader, writer = await world.connect()
        writer.write(head(STREAM, path="/v1/chat/completions") + STREAM)
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # StreamWriter hides that it can
        await asyncio.wait_for(closed.wait(), 100)
        writer.transport.abort()  # type: ignore[attr-defined]
        await asyncio.sleep(1)
        assert world.outcomes[0].client_gone


async def test_two_streams_on_one_connection_follow_each_other() -> None:
    async with World(streaming) as world:
        reader, writer = await world.connect()
        for _ in range(2):
            writer.write(head(STREAM, path="/v1/chat/completions") + STREAM)
            response = await read_response(reader)
            assert response.complete
        assert len(world.upstreams[0].requests) == 2


async def test_a_stop_adds_nothing_to_a_reply_that_was_delivered() -> None:
    async def lingering(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(token("a") + FINISH + DONE)
        await asyncio.sleep(1000)

    async with World(lingering) as world:
        reader, writer = await world.connect()
        writer.write(head(STREAM, path="/v1/chat/completions") + STREAM)
        response = await read_response(reader)
        await world.pipeline.drain(0.0)  # while the gate still reads what may follow the end marker
        assert response.complete
        assert await reader.read() == b""
        assert (world.outcomes[0].error_code, world.outcomes[0].client_gone) == (None, False)
