"""Evidence on the way of real requests: what the last rung is asked in the shadow, and what follows from it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from msgspec import structs

from policies.accept_rules import CascadeRules
from policies.conformal import LABELS_LEAST, Label
from proxy.execution.given import Feedback
from tests.flow.rungs import Rungs
from tests.flow.test_cascade import CHAT, body, refusing, saying, streamed
from tests.flow.world import DONE, FINISH, ROLE, USAGE, Script, token

KEY = "X-Headgate-Run: r1\r\n"
FLOOR = CascadeRules(shadow=0.05, max_loss=0.05)


def stream(text: str) -> Script:
    return streamed(ROLE, token(text), FINISH, USAGE, DONE)


async def ask(world: Rungs, **fields: Any) -> str:
    reply = await world.request(body(**fields))
    await asyncio.sleep(1)
    assert reply.status == 200
    return reply.headers["x-headgate-cascade"]


async def test_every_accepted_answer_of_the_sample_is_asked_of_the_last_rung() -> None:
    async with Rungs(saying("4"), saying("The answer is 4"), cascade=CascadeRules(shadow=1.0)) as world:
        assert await ask(world) == "m0 accept passed"
        assert world.told == [Label("unattributed", "m", 0, 1.0, True)]
        shadow = next(each for each in world.outcomes if each.call.cause)
        assert (shadow.call.priority, shadow.call.model) == ("batch", "m1")
        assert json.loads(world.upstreams[1].requests[0][1])["messages"] == CHAT["messages"]
        assert world.spent == [("m", shadow.cost_usd_nanos)]


async def test_only_a_share_is_asked() -> None:
    async with Rungs(saying("4"), saying("5"), cascade=CascadeRules(shadow=0.2)) as world:
        for _ in range(100):
            await ask(world)
        assert 8 <= len(world.told) <= 35
        assert not any(label.agreed for label in world.told)


async def test_without_a_share_nobody_is_asked() -> None:
    async with Rungs(saying("4"), refusing) as world:
        for _ in range(20):
            await ask(world)
        assert len(world.upstreams[1].requests) == 0


async def test_the_day_has_a_cap_in_dollars() -> None:
    rules = CascadeRules(shadow=1.0, shadow_usd_nanos_a_day=150_000)  # the second takes it beyond
    async with Rungs(saying("4"), saying("4"), cascade=rules) as world:
        for _ in range(5):
            await ask(world)
        assert len(world.told) == 1


async def test_a_shadow_that_fails_is_no_label_and_nobody_notices() -> None:
    async with Rungs(saying("4"), refusing, cascade=CascadeRules(shadow=1.0)) as world:
        assert await ask(world) == "m0 accept passed"
        assert world.told == []


@pytest.mark.parametrize(
    ("cheap", "dear", "agreed"),
    [
        (saying("It is 1,000."), saying("1000"), False),  # a sentence is compared as a whole ...
        (saying("The answer is: 1,000."), saying("1000"), True),  # ... unless it marks its answer
        (saying("word " * 60), saying("other " * 60), None),
        (saying("4"), saying(None, refusal="No."), None),
    ],
)
async def test_what_cannot_be_compared_is_no_label(cheap: Script, dear: Script, agreed: bool | None) -> None:
    async with Rungs(cheap, dear, cascade=CascadeRules(shadow=1.0)) as world:
        await ask(world)
        assert [label.agreed for label in world.told] == ([] if agreed is None else [agreed])


@pytest.mark.parametrize("streams", [False, True])
async def test_until_there_is_evidence_the_last_rung_answers_and_is_compared_for_nothing(streams: bool) -> None:
    cheap, dear = (stream("4"), stream("4")) if streams else (saying("4"), saying("4"))
    async with Rungs(cheap, dear, cascade=FLOOR) as world:
        for at in range(LABELS_LEAST):
            found = await ask(world, stream=streams)
            assert found == "m0 escalate evidence, m1 accept last"
            assert len(world.told) == at + 1
        assert len(world.upstreams[1].requests) == LABELS_LEAST, "no call of its own"
        assert await ask(world, stream=streams) == "m0 accept evidence"
    decisions = [decision.said for decision in world.outcomes[-1].decisions]
    assert decisions == ["the answer of 'm0' was accepted: worse in at most 3.8% of such answers, by 60 labels"]
    assert {label.source for label in world.told} <= {"escalation", "shadow"}
    assert world.told[0].source == "escalation"


async def test_a_rung_that_gets_worse_is_withdrawn() -> None:
    async with Rungs(saying("4"), saying("4"), cascade=structs.replace(FLOOR, shadow=1.0)) as world:
        for _ in range(LABELS_LEAST):
            await ask(world)
        world.upstreams[0].script = saying("5")
        assert [await ask(world) for _ in range(3)] == [
            "m0 accept evidence",
            "m0 accept evidence",
            "m0 escalate evidence, m1 accept last",
        ]
        (standing,) = world.evidence.standings
        assert (standing.withdrawn, standing.withdrawals) == (True, 1)


async def test_an_error_of_the_last_rung_teaches_nothing() -> None:
    async with Rungs(saying("4"), refusing, cascade=FLOOR) as world:
        reply = await world.request(body())
        assert reply.body == json.dumps(json.loads(reply.body), separators=(", ", ": ")).encode()
        assert world.told == []


async def test_a_word_about_an_answer_or_a_run_is_a_label() -> None:
    async with Rungs(saying("4"), refusing, cascade=CascadeRules()) as world:
        first = await world.request(body())
        for _ in range(4):
            await world.request(body(), headers=KEY)
        assert world.evidence.feedback(Feedback(0.0, request=first.headers["x-headgate-request-id"])) == 1
        assert world.evidence.feedback(Feedback(1.0, run="key:key-1/r1")) == 4
        assert [(label.agreed, label.weight, label.source) for label in world.told] == [
            (False, 1.0, "feedback"),
            *[(True, 0.25, "feedback")] * 4,
        ]
        assert world.evidence.standings[0].losses == 1.0


async def test_a_run_that_has_climbed_begins_where_it_was() -> None:
    async with Rungs(saying(" "), saying("4")) as world:
        for at in range(6):
            reply = await world.request(body(), headers=KEY)
            begun_above = "m1 accept last"
            assert reply.headers["x-headgate-cascade"] == (
                begun_above if at else "m0 escalate not_empty, m1 accept last"
            )
        said = [decision.said for decision in world.outcomes[-1].decisions]
        assert said[0] == "begins at rung 1 ('m1'): the run climbed 4 steps ago, and stays for 5"
        world.upstreams[0].script = saying("4")
        again = await world.request(body(), headers=KEY)
        assert again.headers["x-headgate-cascade"] == "m0 accept passed"


async def test_a_cascade_that_does_not_stick_begins_at_the_bottom_each_time() -> None:
    async with Rungs(saying(" "), saying("4"), cascade=CascadeRules(sticky=False)) as world:
        for _ in range(3):
            reply = await world.request(body(), headers=KEY)
            assert reply.headers["x-headgate-cascade"] == "m0 escalate not_empty, m1 accept last"


async def test_where_calls_begin_is_learnt_if_a_share_is_named() -> None:
    rules = CascadeRules(dear_share=0.9)
    async with Rungs(saying(" "), saying("4"), cascade=rules) as world:
        for _ in range(60):
            await ask(world)
        lately = [await ask(world) for _ in range(30)]
        assert lately.count("m1 accept last") > 20
        world.evidence.reset(None, "m")
        assert world.evidence.standings == []


async def test_every_rung_below_the_last_is_compared_with_it() -> None:
    async with Rungs(saying("4"), saying("5"), saying("4"), cascade=FLOOR) as world:
        for _ in range(LABELS_LEAST):
            assert await ask(world) == "m0 escalate evidence, m1 escalate evidence, m2 accept last"
        assert [len(upstream.requests) for upstream in world.upstreams] == [LABELS_LEAST] * 3
        assert [(each.rung, each.losses) for each in world.evidence.standings] == [(0, 0.0), (1, LABELS_LEAST)]
        assert await ask(world) == "m0 accept evidence"


async def test_where_a_rung_between_answers_a_share_is_asked_in_the_shadow() -> None:
    async with Rungs(saying("5"), saying("4"), saying("4"), cascade=structs.replace(FLOOR, shadow=1.0)) as world:
        for _ in range(LABELS_LEAST):
            await ask(world)
        assert await ask(world) == "m0 escalate evidence, m1 accept evidence"
        lately = world.told[2 * LABELS_LEAST :]
        assert sorted((label.rung, label.agreed) for label in lately) == [(0, False), (1, True)]
