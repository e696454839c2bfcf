"""F08, F34 and F77: a late answer is asked for a second time, elsewhere; one generation reaches the client, and every
attempt is in the ledger."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from loadtests.upstream import read
from loadtests.upstream.text import answer_to
from proxy.types import Outcome
from tests.faults.test_matrix import BODIES
from tests.faults.world import FaultWorld, Server
from tests.flow.world import Response

pytestmark = pytest.mark.slow

USUAL = {"answer": {"tokens": 12, "first": 0.2}}
KNOWN = 80  # calls, after which the gate knows what is usual
ASKED = {"messages": [{"role": "user", "content": "tell me"}]}
FORMS = ("stream", "plain")


def servers(primary: list[object], other: list[object]) -> tuple[Server, Server]:
    """The first misbehaves once it is known, the other one whenever it is asked."""
    rules = [{"when": {"first": KNOWN}, "steps": [USUAL]}, {"steps": primary}]
    return Server({"rules": rules}), Server(other)


async def late_call(primary: list[object], other: list[object], form: str) -> tuple[Response, Outcome, list[Server]]:
    both = servers(primary, other)
    async with FaultWorld(*both) as world:
        for _ in range(KNOWN):
            assert (await world.request(BODIES[form])).status == 200  # type: ignore[index]
        reply = await world.request(BODIES[form])  # type: ignore[index]
        await asyncio.sleep(20)
        assert all(outcome.attempts for outcome in world.outcomes)
    return reply, world.outcomes[-1], list(both)


def text(reply: Response, form: str) -> str:
    if form == "plain":
        return reply.json["choices"][0]["message"]["content"]  # type: ignore[index,no-any-return]
    parts = reply.body.split(b'"delta":{"content":"')[1:]
    return "".join(part.split(b'"')[0].decode() for part in parts)


def said(tokens: int) -> str:
    return answer_to(ASKED, tokens).text


@pytest.mark.parametrize("form", FORMS)
async def test_no_head_is_a_second_copy_elsewhere_long_before_any_limit(form: str) -> None:
    reply, outcome, (primary, _) = await late_call(["stall"], [USUAL], form)
    assert (reply.status, reply.complete, text(reply, form)) == (200, True, said(12))
    assert outcome.duration_s < 3
    assert sorted(attempt.role for attempt in outcome.attempts) == ["first", "hedge"]
    assert all(attempt.usage is not None for attempt in outcome.attempts), "every leg is charged"
    lost = primary.entries[-1]
    assert lost.ended == "left"
    assert lost.ended_at is not None
    assert lost.ended_at - lost.asked_at <= outcome.duration_s + 0.1


@pytest.mark.parametrize("form", FORMS)
async def test_when_both_answer_the_first_content_wins_and_no_word_of_the_other_is_heard(form: str) -> None:
    late = {"answer": {"tokens": 7, "first": 5.0, "interval": 0.5}}
    reply, outcome, (primary, other) = await late_call([late], [USUAL], form)
    assert text(reply, form) == said(12)
    assert reply.complete
    lost, won = primary.entries[-1], other.entries[-1]
    assert (lost.ended, lost.completion_tokens, won.ended, won.completion_tokens) == ("left", 0, "whole", 12)
    assert lost.ended_at is not None
    assert lost.ended_at - lost.asked_at <= outcome.duration_s + 0.1


@pytest.mark.parametrize("form", FORMS)
async def test_when_the_loser_fails_the_other_goes_on(form: str) -> None:
    later = {"answer": {"tokens": 12, "first": 4.0}}
    reply, outcome, _ = await late_call([{"wait": 3.0}, "reset"], [later], form)
    assert (reply.status, reply.complete, text(reply, form)) == (200, True, said(12))
    assert {attempt.role: attempt.error_code for attempt in outcome.attempts} == {
        "first": "upstream_unreachable",
        "hedge": None,
    }


@pytest.mark.parametrize("form", FORMS)
async def test_when_the_second_copy_fails_the_first_goes_on(form: str) -> None:
    late = {"answer": {"tokens": 9, "first": 4.0}}
    reply, outcome, _ = await late_call([late], [{"reply": {"status": 500}}], form)
    assert (reply.status, reply.complete, text(reply, form)) == (200, True, said(9))
    hedge = next(attempt for attempt in outcome.attempts if attempt.role == "hedge")
    assert (hedge.error_code, hedge.usage) == ("upstream_error", None)


async def test_when_the_winner_fails_after_its_first_token_the_client_is_told_and_nothing_is_spliced() -> None:
    dying = ["stream", "role", {"tokens": 3}, {"wait": 0.3}, "reset"]
    late = {"answer": {"tokens": 9, "first": 4.0}}
    reply, outcome, _ = await late_call([late], dying, "stream")
    assert (reply.status, reply.complete) == (200, False)
    assert text(reply, "stream") == said(3)
    assert reply.body.count(b'data: {"error"') == 1
    assert b"[DONE]" not in reply.body
    assert len(outcome.attempts) == 2


async def test_from_a_target_ten_times_slower_nine_tenths_of_the_calls_move_away_in_half_a_minute() -> None:
    both = Server([USUAL]), Server([USUAL])
    async with FaultWorld(*both, balance="score") as world:
        await arrivals(world, 10.0, Random(1))
        before = len(both[0].entries), len(both[1].entries)
        both[0].stage.change(read([{"answer": {"tokens": 12, "first": 2.0}}]))
        await arrivals(world, 30.0, Random(2))
        moved = len(both[0].entries)
        begun = len(world.outcomes)
        await arrivals(world, 15.0, Random(3))
        slow = len(both[0].entries) - moved
        calls = len(world.outcomes) - begun
    assert min(before) >= 10, "both were in use"
    assert slow <= 0.1 * calls
    assert all(outcome.status == 200 for outcome in world.outcomes)
    assert len(world.entries) <= 1.1 * len(world.outcomes) + 10


async def arrivals(world: FaultWorld, seconds: float, rng: Random) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    async with asyncio.TaskGroup() as calls:
        while loop.time() < until:
            await asyncio.sleep(rng.expovariate(8.0))
            calls.create_task(world.request(BODIES["stream"]))
