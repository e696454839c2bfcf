from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

from proxy.clock import SystemClock, loop_time
from proxy.demo.client import Reply
from proxy.demo.fleet import Tally
from proxy.demo.narrator import Narrator, Side
from proxy.demo.news import News
from proxy.demo.result import Event
from proxy.demo.story import PROVIDERS, story
from proxy.demo.vendor import Vendor
from proxy.providers.simulated import Simulation
from tests.proxy.demo.test_runaway import Scripted, wild


def side() -> Side:
    vendors = {
        name: Vendor(name, Simulation(), story=story(60.0), clock=SystemClock(1, now=loop_time)) for name in PROVIDERS
    }
    return Side(vendors, Tally(), wild(Scripted()))


async def test_it_says_when_a_provider_fails_and_what_that_did_to_either_column() -> None:
    direct, gate = side(), side()
    heard: list[Event] = []
    narrator = Narrator(story(60.0), direct=direct, gate=gate, clock=SystemClock(1, now=loop_time), hear=heard.append)
    direct.vendors["east"].refused, gate.vendors["east"].refused = 100, 50
    loop = asyncio.get_running_loop()
    loop.call_later(15.0, setattr, direct.vendors["west"], "silent", 9)
    loop.call_later(30.0, setattr, direct.vendors["east"], "refused", 107)
    loop.call_later(30.0, setattr, gate.vendors["east"], "refused", 54)
    loop.call_later(31.0, setattr, direct.tally, "failed", 3)
    await narrator.tell()
    assert heard == narrator.events
    assert [event.at_s for event in heard] == [12.0, 24.0, 24.0, 42.0]
    slow, fast, down, well = (event.text for event in heard)
    assert slow == "provider west says 200 to many calls and then nothing for 5.0 s: its direct agents wait"
    assert fast == (
        "provider west is as fast as before: it struck 0 attempts of the gate and 9 direct ones; "
        "calls that failed meanwhile: 0 through the gate, 0 direct"
    )
    assert down == "provider east is down (500): its direct agents can only try it again"
    assert well == (
        "provider east is well again: it struck 4 attempts of the gate and 7 direct ones; "
        "calls that failed meanwhile: 0 through the gate, 3 direct"
    )


async def test_the_runaway_is_told_from_its_beginning_to_both_its_ends() -> None:
    direct, gate = side(), side()
    heard: list[Event] = []
    narrator = Narrator(story(60.0), direct=direct, gate=gate, clock=SystemClock(1, now=loop_time), hear=heard.append)
    asyncio.get_running_loop().call_later(47.1, setattr, gate.runaway, "refused", "budget_exceeded")
    asyncio.get_running_loop().call_later(47.1, gate.runaway.over.set)
    direct.runaway.tally.heard_of(0.0, Reply("x", 0.1))
    gate.runaway.tally.in_flight = 2
    await narrator.tell_of_runaways()
    assert [event.at_s for event in heard] == [45.0, 47.1, 55.2]
    assert [event.text for event in heard] == [
        "agent runaway asks without end; at the gate it has a budget of $0.02",
        "gate: agent runaway is refused (budget_exceeded); answered by now: 0 calls, still running: 2",
        "somebody stops the direct runaway: 1 call, $0.00 by now; what still runs is billed too",
    ]


async def test_what_the_gate_does_is_told_as_it_happens(tmp_path: Path) -> None:
    direct, gate = side(), side()
    log = tmp_path / "gate.log"
    log.touch()
    narrator = Narrator(story(60.0), direct=direct, gate=gate, clock=SystemClock(1, now=loop_time), hear=events_lost)
    with closing(News(log, gate.tally)) as news:
        following = asyncio.get_running_loop().create_task(narrator.follow(news))
        await asyncio.sleep(3.2)
        gate.tally.heard_of(0.0, Reply("x", 0.5, "west/sim-small", "hedge"))
        await asyncio.sleep(3.0)
        following.cancel()
    (event,) = narrator.events
    assert event == Event(3.5, "gate: hedged a call that was late: the second copy was faster")


def events_lost(_: Event) -> None:
    """Nobody hears them."""
