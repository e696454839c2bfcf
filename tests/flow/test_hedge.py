"""A call that is late is sent a second time elsewhere: the first content wins, the loser is closed and paid for."""

from __future__ import annotations

import asyncio

import pytest

from policies.retry import Retry
from proxy.types import AbortRule
from tests.flow.world import DONE, FINISH, PROVIDER_KEY, ROLE, USAGE, Peer, World, head, token

PLAIN = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
STREAM = PLAIN[:-1] + b',"stream":true}'
BOTH = pytest.mark.parametrize("body", [PLAIN, STREAM], ids=["plain", "stream"])
PROMPT_S = 0.2


class Slow:
    """Answers promptly until it is told to hang; knows when the gate has closed a connection."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.first_token_s = PROMPT_S
        self.hanging = 0  # requests that will hang
        self.after_head = False  # they hang after the head, else before it
        self.closed_at: list[float] = []

    async def __call__(self, peer: Peer) -> None:
        hangs, self.hanging = self.hanging > 0, max(0, self.hanging - 1)
        if hangs and not self.after_head:
            await self._hang(peer)
            return
        await peer.stream_head()
        await peer.chunk(ROLE)
        if hangs:
            await self._hang(peer)
            return
        await asyncio.sleep(self.first_token_s)
        for event in (token(self.name), FINISH, USAGE, DONE):
            await peer.chunk(event)
        await peer.end()

    async def _hang(self, peer: Peer) -> None:
        await peer.gone()
        self.closed_at.append(asyncio.get_running_loop().time())


async def warmed(world: World, body: bytes, calls: int = 40) -> None:
    for _ in range(calls):
        assert (await world.request(body)).status == 200


@BOTH
@pytest.mark.parametrize("after_head", [False, True], ids=["no head", "head, then silence"])
async def test_a_call_that_hangs_is_answered_by_another_target_within_a_few_medians(
    body: bytes, after_head: bool
) -> None:
    first, second = Slow("first"), Slow("second")
    async with World(first, second) as world:
        await warmed(world, body)
        first.hanging, first.after_head = 1, after_head
        loop = asyncio.get_running_loop()
        began = loop.time()
        response = await world.request(body)
        took = loop.time() - began
        assert response.status == 200
        assert response.complete
        assert b"second" in response.body
        assert b"first" not in response.body
        assert took < 5 * PROMPT_S
        assert response.headers["x-headgate-served-by"] == "hedge"
        assert response.headers["x-headgate-target"] == "up1/real"
        await asyncio.sleep(0.1)
        (closed_at,) = first.closed_at
        assert closed_at - began <= took + 0.1
    outcome = world.outcomes[-1]
    assert [(each.role, each.lesson) for each in outcome.attempts] == [("first", "ignore"), ("hedge", "success")]
    loser = outcome.attempts[0]
    assert loser.usage is not None  # it was sent: its input is paid for
    assert loser.cost_usd_nanos
    said = [decision.said for decision in outcome.decisions]
    assert any(words.startswith("hedged after 0.") for words in said), said
    assert said[-1] == "up1/real was first, up0/real was closed"


async def test_the_loser_is_closed_while_the_winner_still_streams() -> None:
    first, second = Slow("first"), Slow("second")

    async def long(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(token("a"))
        await asyncio.sleep(20)
        for event in (token("b"), FINISH, USAGE, DONE):
            await peer.chunk(event)
        await peer.end()

    async with World(first, second) as world:
        await warmed(world, STREAM)
        first.hanging = 1
        world.upstreams[1].script = long
        began = asyncio.get_running_loop().time()
        response = await world.stream(STREAM)
        assert response.body.count(b'"content":') == 2
        (closed_at,) = first.closed_at
        assert closed_at - began < 1.0 + 0.1


@BOTH
async def test_the_primary_that_comes_after_all_wins_and_the_hedge_is_closed(body: bytes) -> None:
    first, second = Slow("first"), Slow("second")
    async with World(first, second) as world:
        await warmed(world, body)
        first.first_token_s, second.hanging = 2.0, 1
        response = await world.request(body)
        assert (response.status, response.headers["x-headgate-served-by"]) == (200, "primary")
        assert b"first" in response.body
        await asyncio.sleep(0.1)
        assert len(second.closed_at) == 1
    assert [each.role for each in world.outcomes[-1].attempts] == ["hedge", "first"]


async def test_a_hedge_that_fails_leaves_the_primary_its_chance() -> None:
    first = Slow("first")

    async def failing(peer: Peer) -> None:
        await peer.reply(b'{"error":{"message":"no"}}', status="500 No")

    async with World(first, failing) as world:
        await warmed(world, STREAM)
        first.first_token_s = 2.0
        response = await world.request(STREAM)
        assert (response.status, response.headers["x-headgate-served-by"]) == (200, "primary")
        assert b"first" in response.body


async def test_a_primary_that_fails_while_its_hedge_runs_waits_for_it() -> None:
    first, second = Slow("first"), Slow("second")

    async def dying(peer: Peer) -> None:
        if len(world.upstreams[0].requests) > 40:
            await asyncio.sleep(0.55)
            peer.reset()
            return
        await first(peer)

    async with World(dying, second) as world:
        await warmed(world, STREAM)
        response = await world.request(STREAM)
        assert (response.status, response.headers["x-headgate-served-by"]) == (200, "hedge")
    assert [each.role for each in world.outcomes[-1].attempts] == ["first", "hedge"]


async def test_both_fail_and_one_more_is_tried() -> None:
    first, second = Slow("first"), Slow("second")
    broken: list[bool] = []

    async def dying(peer: Peer) -> None:
        if broken:
            await asyncio.sleep(1.0)
            peer.reset()
            return
        await first(peer)

    async def dying_too(peer: Peer) -> None:
        if broken:
            broken.clear()
            await asyncio.sleep(1.0)
            peer.reset()
            return
        await second(peer)

    async with World(dying, dying_too) as world:
        await warmed(world, STREAM)
        broken.append(True)
        response = await world.request(STREAM)
        assert (response.status, response.headers["x-headgate-served-by"]) == (200, "retry")
    assert sorted(each.role for each in world.outcomes[-1].attempts) == ["first", "hedge", "retry"]


@pytest.mark.parametrize("headers", ["x-headgate-hedge: off\r\n", ""], ids=["opted out", "stored"])
async def test_who_does_not_want_two_copies_gets_one(headers: str) -> None:
    first, second = Slow("first"), Slow("second")
    body = STREAM if headers else STREAM[:-1] + b',"store":true}'
    async with World(first, second) as world:
        await warmed(world, STREAM)
        first.first_token_s = 3.0
        response = await world.request(body, headers=headers)
        assert (response.status, response.headers["x-headgate-served-by"]) == (200, "primary")
        assert len(world.upstreams[1].requests) == 0


async def test_one_attempt_allowed_is_one_attempt() -> None:
    first, second = Slow("first"), Slow("second")
    async with World(first, second, retry=Retry(attempts=1)) as world:
        await warmed(world, STREAM)
        first.first_token_s = 3.0
        assert (await world.request(STREAM)).headers["x-headgate-served-by"] == "primary"
        assert len(world.upstreams[1].requests) == 0


@BOTH
@pytest.mark.parametrize("abort", ["stops", "continues", "unknown"])
async def test_a_client_that_leaves_in_the_middle_of_a_hedge_leaves_nothing_behind(
    body: bytes, abort: AbortRule
) -> None:
    first, second = Slow("first"), Slow("second")
    async with World(first, second, abort=abort) as world:
        await warmed(world, body)
        first.hanging, second.hanging = 1, 1
        _, writer = await world.connect()
        writer.write(head(body, path="/v1/chat/completions") + body)
        await asyncio.sleep(1.5)
        assert len(world.upstreams[1].requests) == 1
        writer.close()
        await asyncio.sleep(0.2)
        assert (len(first.closed_at), len(second.closed_at)) == (1, 1)
    assert world.outcomes[-1].client_gone


async def test_a_loser_that_is_billed_to_its_end_is_read_to_its_end_after_the_reply() -> None:
    first, second = Slow("first"), Slow("second")

    async def late(peer: Peer) -> None:
        if len(world.upstreams[0].requests) <= 40:
            await first(peer)
            return
        await peer.stream_head()
        await peer.chunk(ROLE)
        await asyncio.sleep(2.0)
        for event in (token("too late"), FINISH, USAGE, DONE):
            await peer.chunk(event)
        await peer.end()

    async with World(late, second, abort="continues") as world:
        await warmed(world, PLAIN)
        response = await world.request(PLAIN)
        assert response.headers["x-headgate-served-by"] == "hedge"
        assert "x-headgate-cost-usd" not in response.headers  # the loser's bill is not known yet
    loser = next(each for each in world.outcomes[-1].attempts if each.role == "first")
    assert loser.usage is not None
    assert (loser.usage.source, loser.usage.output_total) == ("reported", 5)


async def test_a_plain_reply_is_the_same_whether_it_was_asked_for_as_a_stream_or_not() -> None:
    async with World(Slow("first"), Slow("second")) as world:
        response = await world.request(PLAIN)
        assert world.upstreams[0].requests[0][1].endswith(b'"stream":true,"stream_options":{"include_usage":true}}')
    assert response.headers["content-type"] == "application/json"
    assert response.json["object"] == "chat.completion"
    assert response.json["usage"] == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    assert response.json["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "first"}, "finish_reason": "stop"}
    ]
    assert PROVIDER_KEY.encode() not in response.body


async def test_hedges_are_taken_out_of_the_attempt_budget() -> None:
    first, second = Slow("first"), Slow("second")
    async with World(first, second) as world:
        await warmed(world, STREAM)
        while world.attempt_budget.withdraw(asyncio.get_running_loop().time()):
            pass
        await asyncio.sleep(11)  # one is earned every ten seconds
        first.first_token_s = 3.0
        assert (await world.request(STREAM)).headers["x-headgate-served-by"] == "hedge"
        response = await world.request(STREAM)
        assert response.headers["x-headgate-served-by"] == "primary"
    assert "no hedge: the attempt budget is used up" in [each.said for each in world.outcomes[-1].decisions]


@pytest.mark.parametrize("refusing", ["first", "second"])
async def test_a_429_that_a_duel_hides_from_the_client_is_heard_all_the_same(refusing: str) -> None:
    """Whoever was told to stay away for a minute is not asked again in the next second."""
    first, second = Slow("first"), Slow("second")
    refused: list[bool] = []

    async def refuses(peer: Peer) -> None:
        refused.append(True)
        await asyncio.sleep(1.0 if refusing == "first" else 0.0)
        headers = "Retry-After: 60\r\n"
        await peer.reply(b'{"error":{"message":"slow down"}}', status="429 No", headers=headers)

    async with World(first, second) as world:
        await warmed(world, STREAM)
        if refusing == "first":
            world.upstreams[0].script, second.first_token_s = refuses, 2.0
        else:
            world.upstreams[1].script, first.first_token_s = refuses, 2.0
        response = await world.request(STREAM)
        assert response.status == 200
        said = [each.said for each in world.outcomes[-1].decisions]
        assert said[-1].endswith("failed (upstream_overloaded)"), said
        first.first_token_s = second.first_token_s = 2.0
        for _ in range(3):
            assert (await world.request(STREAM)).status == 200
        assert len(refused) == 1
