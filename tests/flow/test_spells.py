"""Where a call was before it was sent: each wait and each look for a known answer has its time in the outcome."""

from __future__ import annotations

import asyncio

from policies.cache_rules import CacheRules
from policies.provider_limits import TargetRules
from policies.rate_limit import RateRules, Rates
from proxy.execution.line import Queueing
from proxy.observed import Spell
from proxy.snapshot import AgentRules
from proxy.telemetry.spans import spans
from proxy.types import Outcome
from tests.flow.world import Peer, World, plain

ONE = TargetRules(targets={"up0/real": Rates(concurrency=1)})
PATIENT = Queueing(wait_s=100)


async def slow(peer: Peer) -> None:
    await asyncio.sleep(10)
    await plain(peer)


def told(outcome: Outcome) -> list[tuple[str, str, float, bool]]:
    return [(each.kind, each.on, round(each.lasted_s, 1), each.planned) for each in outcome.spells]


async def test_a_call_that_waits_for_nothing_has_none() -> None:
    async with World(plain) as world:
        await world.request()
    assert world.outcomes[0].spells == ()


async def test_a_wait_for_a_target_comes_after_the_plan() -> None:
    async with World(slow, target_rates=ONE, queueing=PATIENT) as world:
        await asyncio.gather(world.request(), world.request())
    assert sorted(told(outcome) for outcome in world.outcomes) == [[], [("queue", "up0/real", 10.0, True)]]


async def test_a_wait_for_the_limits_of_a_key_comes_before_it() -> None:
    rates = RateRules(keys={"key-1": Rates(concurrency=1)})
    async with World(slow, rates=rates, queueing=PATIENT) as world:
        await asyncio.gather(world.request(), world.request())
    waited = [outcome for outcome in world.outcomes if any(spell.lasted_s > 1 for spell in outcome.spells)]
    assert [told(outcome) for outcome in waited] == [[("queue", "rate limits", 10.0, False)]]


async def test_looking_for_a_known_answer_is_told_whether_there_was_one_or_not() -> None:
    async with World(plain, rules=AgentRules(cache=CacheRules(exact="on"))) as world:
        for _ in range(2):
            await world.request()
    assert [[spell.kind for spell in outcome.spells] for outcome in world.outcomes] == [["cache"], ["cache"]]
    assert [outcome.looked_up[0].result for outcome in world.outcomes] == ["miss", "hit"]


async def test_spans_of_a_call_fill_its_time_without_a_gap() -> None:
    async with World(slow, target_rates=ONE, queueing=PATIENT) as world:
        await asyncio.gather(world.request(), world.request())
    late = next(outcome for outcome in world.outcomes if outcome.spells)
    found = {str(span["name"]): span for span in spans(late, ("genai",))}
    ends = [(int(str(span["startTimeUnixNano"])), int(str(span["endTimeUnixNano"]))) for span in found.values()]
    server, queue, plan, chat = (ends[list(found).index(name)] for name in ("chat m", "queue", "plan", "chat real"))
    assert server[0] <= plan[0] <= plan[1] <= queue[0] < queue[1] <= chat[0] < chat[1] <= server[1]
    assert queue[1] - queue[0] >= 9_000_000_000


def test_a_spell_lasts_from_its_beginning_to_its_end() -> None:
    assert Spell("queue", "x", 2.0, 5.0, True).lasted_s == 3.0
