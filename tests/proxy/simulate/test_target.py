"""A modelled target: it takes as long, caches as much and is right as often as its character says."""

from __future__ import annotations

import asyncio
from collections import Counter

from loadtests.replay.recorded import Asked
from proxy.providers.base import UpstreamRequest
from proxy.providers.simulated_answer import Draw
from proxy.simulate.cards import Cards, body
from proxy.simulate.target import REFUSED, RIGHT, Character, Modelled, Quality, said
from proxy.simulate.virtual import VirtualClock, run
from tests.proxy.simulate.samples import asked, runs

ENGINE, VENDOR = Character(True, 1_000), Character(False, 1_000, sigma=0.0)


def new(character: Character, cards: Cards, quality: Quality | None = None) -> Modelled:
    return Modelled("a", character, quality=quality or Quality(), cards=cards, clock=VirtualClock(1, 0.0))


def dealt() -> Cards:
    cards = Cards()
    cards.deal(runs(4, 4), 1)
    return cards


async def ask(target: Modelled, cards: Cards, asked: Asked) -> tuple[float, float, bytes]:
    """When the head and the end were there, and the bytes."""
    began, data = asyncio.get_running_loop().time(), b""
    raw = body(asked, cards.of(asked), "m")[:-1] + b',"stream_options":{"include_usage":true}}'
    reply = await target.send(UpstreamRequest("POST", "http://x/v1/chat/completions", {}, raw))
    first = asyncio.get_running_loop().time() - began
    while piece := await reply.read():
        data += piece
    return first, asyncio.get_running_loop().time() - began, data


def test_an_engine_reads_one_prompt_after_another_and_only_what_is_new() -> None:
    async def scene() -> list[tuple[float, float, bytes]]:
        cards = dealt()
        target, calls = new(ENGINE, cards), [run.calls for run in runs(4, 4)]
        both = await asyncio.gather(ask(target, cards, calls[0][0]), ask(target, cards, calls[1][0]))
        return [*both, await ask(target, cards, calls[0][1])]

    one, other, again = run(scene())
    assert round(one[0], 3) == round(2_048 / 8_000, 3)
    assert other[0] > 1.9 * one[0], "it waited for the first"
    assert round(again[0], 3) == round(512 / 8_000, 3)
    assert b'"cached_tokens":2048' in again[2]
    assert 100 * 0.02 <= one[1] - one[0] < 100 * 0.02 * 1.1


def test_a_vendor_answers_everybody_at_once_and_caches_no_short_prompts() -> None:
    async def scene() -> tuple[list[float], list[bool]]:
        cards, short = dealt(), asked(512, scope="short")
        cards.deal([*runs(1, 1)], 1)
        cards._add(short, 0.5)
        target, calls = new(VENDOR, cards), [run.calls[0] for run in runs(4, 4)]
        firsts = [first for first, _, _ in await asyncio.gather(*[ask(target, cards, call) for call in calls])]
        again = [await ask(target, cards, call) for call in (calls[0], short, short)]
        return firsts, [b'"cached_tokens":0' not in data for _, _, data in again]

    firsts, cached = run(scene())
    assert {round(first, 3) for first in firsts} == {round(0.5 + 2_048 / 8_000, 3)}
    assert cached == [True, False, False]


def test_it_is_right_as_often_as_was_said_and_some_of_the_rest_can_be_seen() -> None:
    quality = Quality({"m": 0.8}, seen=0.25)
    count = Counter(
        said(quality, 0.8, Draw(b"luck %d" % number).share(), Draw(b"%d" % number)) for number in range(20_000)
    )
    assert abs(count[RIGHT] / 20_000 - 0.8) < 0.01
    assert abs(count[REFUSED] / (20_000 - count[RIGHT]) - 0.25) < 0.02
    assert len(count) == 5, "who errs unseen errs in ways of its own"


def test_hard_questions_are_hard_for_all_models() -> None:
    quality = Quality({}, shared=1.0)
    for number in range(200):
        luck, draw = Draw(b"luck %d" % number).share(), Draw(b"%d" % number)
        if said(quality, 0.5, luck, draw) == RIGHT:
            assert said(quality, 0.9, luck, Draw(b"other")) == RIGHT


def test_quality_is_said_of_models_and_of_one_provider_of_them() -> None:
    quality = Quality({"m": 0.5, "b/m": 0.7})
    assert (quality.of("a", "m"), quality.of("b", "m"), quality.of("a", "n")) == (0.5, 0.7, 1.0)


def test_what_is_no_recorded_call_is_refused_and_counted() -> None:
    async def scene() -> tuple[int, int]:
        target = new(VENDOR, dealt())
        reply = await target.send(UpstreamRequest("POST", "http://x/v1/chat/completions", {}, b'{"model":"m"}'))
        return reply.status, target.unknown

    assert run(scene()) == (404, 1)
