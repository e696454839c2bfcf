from __future__ import annotations

import asyncio
from contextlib import suppress

from msgspec import structs

from proxy.cache_hints import CacheHints
from proxy.execution.prompt_caching import PromptCaching
from proxy.execution.record import Record
from tests.prompts import KEY, MARKERS, TARGET, Json, asking, parts, provider_of, record_of, tool, wanted
from tests.proxy.providers.calls import StillClock

FRONT: Json = {"role": "system", "content": parts("s" * 40_000)}
PROVIDER = provider_of(MARKERS)


def child(number: int, *, run: str | None = None) -> Record:
    call = asking([FRONT, {"role": "user", "content": f"part {number}"}], tokens=10_000, run=run or f"r{number}")
    now = asyncio.get_running_loop().time()
    return record_of(structs.replace(call, arrived_at=now, deadline=now + 600.0))


class Fan:
    """Calls with one prefix that begin together; `first_s`: how long each takes to its first event."""

    def __init__(self, first_s: float = 1.0) -> None:
        self.caching = PromptCaching(StillClock())
        self.first_s = first_s
        self.gone: list[tuple[int, float]] = []  # who went, and when

    async def one(self, number: int, record: Record | None = None, *, fails: bool = False) -> Record:
        record = record or child(number)
        sold = wanted(PROVIDER)
        asked = self.caching.look(record, sold)
        assert asked is not None
        lead = await self.caching.turn(record, asked, sold)
        self.gone.append((number, asyncio.get_running_loop().time()))
        try:
            await asyncio.sleep(self.first_s)
            if not fails:
                self.caching.written(lead)
        finally:
            self.caching.failed(lead)
        return record


async def test_the_others_wait_for_the_firsts_first_event() -> None:
    fan, began = Fan(), asyncio.get_running_loop().time()
    records = await asyncio.gather(*(fan.one(number) for number in range(5)))
    assert [round(at - began, 6) for _, at in fan.gone] == [0.0, 1.0, 1.0, 1.0, 1.0]
    assert [round(record.upstream_s, 6) for record in records] == [0.0, 1.0, 1.0, 1.0, 1.0]
    said = [decision.said for decision in records[1].decisions or ()]
    assert said == ["waited 1.00 s for a call that was writing the beginning of its prompt"]
    assert "0 waited for" in repr(fan.caching)


async def test_nobody_waits_longer_than_three_seconds() -> None:
    fan, began = Fan(first_s=20.0), asyncio.get_running_loop().time()
    await asyncio.gather(*(fan.one(number) for number in range(3)))
    assert [round(at - began, 6) for _, at in fan.gone] == [0.0, 3.0, 3.0]


async def test_nor_for_more_than_a_tenth_of_the_time_it_has() -> None:
    fan, began = Fan(first_s=20.0), asyncio.get_running_loop().time()
    short = child(1)
    short.call = structs.replace(short.call, deadline=began + 10.0)
    urgent = child(2)
    urgent.call = structs.replace(urgent.call, priority="critical")
    await asyncio.gather(fan.one(0), fan.one(1, short), fan.one(2, urgent))
    assert sorted((number, round(at - began, 6)) for number, at in fan.gone) == [(0, 0.0), (1, 1.0), (2, 0.0)]


async def test_when_the_first_fails_one_of_the_others_leads() -> None:
    fan, began = Fan(), asyncio.get_running_loop().time()
    await asyncio.gather(fan.one(0, fails=True), *(fan.one(number) for number in range(1, 4)))
    assert [round(at - began, 6) for _, at in fan.gone] == [0.0, 1.0, 2.0, 2.0]


async def test_who_gives_up_waiting_holds_nobody_up() -> None:
    fan, began = Fan(), asyncio.get_running_loop().time()
    with suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            await asyncio.gather(fan.one(0), fan.one(1))
    await fan.one(2)
    assert fan.gone[-1] == (2, began + 0.5)
    assert repr(fan.caching.siblings).startswith("Siblings(0 being written")


async def test_where_no_provider_caches_nobody_waits_and_nothing_is_asked() -> None:
    caching, plain = PromptCaching(StillClock()), provider_of()
    record = child(1)
    asked = caching.look(record, wanted(plain))
    assert asked is not None, "its prefix is looked at all the same"
    assert await caching.turn(record, asked, wanted(plain)) is None
    assert caching.hinted(record, record.call, asked, provider=plain, target=TARGET) is record.call
    nobody = record_of(asking([FRONT], run=None))
    assert caching.look(nobody, wanted(plain)) is None
    assert caching.look(record_of(asking([FRONT], tokens=1_023)), wanted(PROVIDER)) is None


async def test_a_call_is_given_its_hints_and_says_so() -> None:
    caching, provider = PromptCaching(StillClock()), provider_of(KEY)
    record = child(1)
    asked = caching.look(record, wanted(provider))
    ask = caching.hinted(record, record.call, asked, provider=provider, target=TARGET)
    assert ask.hints is not None and ask.hints.key
    assert ask == structs.replace(record.call, hints=CacheHints(key=ask.hints.key))
    assert [decision.said for decision in record.decisions or ()] == ["prompt cache of v: a key of its run"]


async def test_a_broken_prefix_is_told_with_its_culprit() -> None:
    caching = PromptCaching(StillClock())
    first = record_of(asking([FRONT], tools=[tool("a"), tool("b")], tokens=10_000))
    second = record_of(asking([FRONT], tools=[tool("b"), tool("a")], tokens=10_000))
    for record in (first, second):
        caching.look(record, wanted(PROVIDER))
    assert first.decisions is None
    (decision,) = second.decisions or ()
    assert decision.broke == "tool_order"
    assert "the 2 tools stand in another order; about 10,000 tokens" in decision.said


async def test_another_keys_run_of_the_same_name_is_another_run() -> None:
    caching = PromptCaching(StillClock())
    first = record_of(asking([FRONT], tools=[tool("a"), tool("b")]))
    call = asking([FRONT], tools=[tool("b"), tool("a")])
    other = record_of(structs.replace(call, identity=structs.replace(call.identity, key_id="another")))
    for record in (first, other):
        caching.look(record, wanted(PROVIDER))
    assert other.decisions is None


async def test_the_keys_of_a_team_have_one_run() -> None:
    caching = PromptCaching(StillClock())
    found = []
    for key, order in (("k", "ab"), ("another", "ba")):
        call = asking([FRONT], tools=[tool(name) for name in order])
        found.append(record_of(structs.replace(call, identity=structs.replace(call.identity, key_id=key, team="red"))))
        caching.look(found[-1], wanted(PROVIDER))
    assert [(each.decisions or [None])[0] is not None for each in found] == [False, True]
