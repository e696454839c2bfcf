"""What is kept back of a stream at first: an early death is answered by somebody else, and nobody notices."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from policies.survival import Survival
from proxy.snapshot import AgentRules
from tests.flow.world import DONE, FINISH, ROLE, USAGE, Peer, World, head, streaming, token

STREAM = b'{"model":"m","messages":[],"stream":true}'
HELD = AgentRules(survival=Survival(hold_tokens=4))
GOOD = ROLE + token("hel") + token("lo") + FINISH + DONE


def dying(tokens: int, end: Callable[[Peer], Awaitable[None]]) -> Callable[[Peer], Awaitable[None]]:
    async def script(peer: Peer) -> None:
        await peer.stream_head()
        for _ in range(tokens):
            await peer.chunk(token("bad"))
            await asyncio.sleep(0.1)
        await end(peer)

    return script


async def reset(peer: Peer) -> None:
    peer.reset()


async def error_event(peer: Peer) -> None:
    await peer.chunk(b'data: {"error":{"message":"boom","type":"server_error","code":"x"}}\n\n')
    await peer.end()


@pytest.mark.parametrize("end", [reset, Peer.end, error_event])
@pytest.mark.parametrize("tokens", [1, 2, 3])
async def test_who_dies_before_the_commit_is_replaced_unnoticed(
    tokens: int, end: Callable[[Peer], Awaitable[None]]
) -> None:
    async with World(dying(tokens, end), streaming, rules=HELD) as world:
        response = await world.stream()
        assert response.complete
        assert response.body == GOOD
        assert response.headers["x-headgate-served-by"] == "fallback"
    (outcome,) = world.outcomes
    assert [each.lesson for each in outcome.attempts] == ["failure", "success"]
    assert outcome.attempts[0].usage is not None  # it is paid for what it made
    assert outcome.attempts[0].usage.output >= tokens


async def test_who_dies_after_it_is_not() -> None:
    async with World(dying(5, reset), streaming, rules=HELD) as world:
        response = await world.stream()
        assert not response.complete
        assert response.body.count(b'"bad"') == 5
        assert b'"code":"upstream_broken"' in response.body


async def test_without_it_nothing_is_kept_back() -> None:
    async with World(dying(1, reset), streaming) as world:
        assert not (await world.stream()).complete


async def test_a_short_answer_goes_out_when_it_is_whole() -> None:
    async with World(streaming, rules=AgentRules(survival=Survival(hold_tokens=1_000))) as world:
        loop = asyncio.get_running_loop()
        began = loop.time()
        response = await world.stream()
        assert loop.time() - began < 0.5
        assert response.body == GOOD
        usage = world.outcomes[0].attempts[0].usage
        assert usage is not None
        assert usage.source == "reported"


async def test_an_answer_without_an_end_marker_goes_out_too() -> None:
    async def unmarked(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(token("a"))
        await peer.chunk(FINISH)
        await peer.end()

    async with World(unmarked, rules=AgentRules(survival=Survival(hold_tokens=1_000))) as world:
        response = await world.stream()
        assert (response.complete, response.body) == (True, token("a") + FINISH)


async def test_nobody_waits_for_longer_than_two_seconds_and_nothing_is_lost() -> None:
    async def slow(peer: Peer) -> None:
        await peer.stream_head()
        for text in "abcdef":
            await peer.chunk(token(text))
            await asyncio.sleep(0.7)
        for event in (FINISH, USAGE, DONE):
            await peer.chunk(event)
        await peer.end()

    async with World(slow, rules=AgentRules(survival=Survival(hold_tokens=100))) as world:
        loop = asyncio.get_running_loop()
        reader, writer = await world.connect()
        writer.write(head(STREAM, path="/v1/chat/completions") + STREAM)
        began = loop.time()
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        assert loop.time() - began == pytest.approx(2.0, abs=0.05)
        await reader.readuntil(b"[DONE]")
        writer.close()
    async with World(slow, rules=AgentRules(survival=Survival(hold_tokens=100))) as world:
        assert (await world.stream()).body == b"".join(map(token, "abcdef")) + FINISH + DONE


async def test_a_client_that_leaves_meanwhile_leaves_nothing_behind() -> None:
    async with World(dying(1, Peer.gone), rules=HELD) as world:
        _, writer = await world.connect()
        writer.write(head(STREAM, path="/v1/chat/completions") + STREAM)
        await asyncio.sleep(1.0)
        writer.close()
        await asyncio.sleep(0.2)
        assert world.outcomes[0].client_gone


PLAIN = b'{"model":"m","messages":[]}'


async def test_a_plain_call_of_which_all_tries_died_says_how_far_the_last_got() -> None:
    async with World(dying(3, reset), dying(2, reset), rules=HELD) as world:
        response = await world.request(PLAIN)
        assert response.status == 502
        assert response.error["code"] == "upstream_broken"
        assert response.error["target"] in ("up0/real", "up1/real")
        assert response.error["received_tokens"] in (2, 3)
