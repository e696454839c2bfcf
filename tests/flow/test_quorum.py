"""Quorums through the whole gate: whom they ask, whose reply goes out, what it costs, and what can go wrong."""

from __future__ import annotations

from policies.vote import VoteRules
from tests.flow.panel import CHAT, Panel, reply, says

THREE = VoteRules(sizes=(3,))


async def test_the_answer_of_most_goes_out_as_it_came() -> None:
    async with Panel(says("42"), says("41"), says("**42**"), votes=THREE) as world:
        got = await world.request(CHAT)
        assert (got.status, got.body) == (200, reply("**42**")), "the strongest of those who said so"
        assert got.headers["x-headgate-served-by"] == "quorum"
        assert world.asked == [1, 1, 1]
        print(got.headers, world.said)
