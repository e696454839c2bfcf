from __future__ import annotations

import asyncio

from proxy.clock import SystemClock, loop_time
from proxy.demo.fleet import Tally
from proxy.demo.narrator import Narrator, Side
from proxy.demo.result import Event
from proxy.demo.story import PROVIDERS, story
from proxy.demo.vendor import Vendor
from proxy.providers.simulated import Simulation


def side() -> Side:
    vendors = {
        name: Vendor(name, Simulation(), story=story(60.0), clock=SystemClock(1, now=loop_time)) for name in PROVIDERS
    }
    return Side(vendors, Tally())


async def test_it_says_when_a_provider_fails_and_what_that_did_to_either_column() -> None:
    direct, gate = side(), side()
    heard: list[Event] = []
    narrator = Narrator(story(60.0), direct=direct, gate=gate, clock=SystemClock(1, now=loop_time), hear=heard.append)
    direct.vendors["east"].refused, gate.vendors["east"].refused = 100, 50
    loop = asyncio.get_running_loop()
    loop.call_later(30.0, setattr, direct.vendors["east"], "refused", 107)
    loop.call_later(30.0, setattr, gate.vendors["east"], "refused", 54)
    loop.call_later(31.0, setattr, direct.tally, "failed", 3)
    await narrator.tell()
    assert heard == narrator.events
    assert [event.at_s for event in heard] == [9.0, 13.8, 24.0, 39.0, 45.0, 49.8]
    assert heard[2].text.startswith("provider east is down (503): the gate tries its calls elsewhere")
    assert heard[3].text == (
        "provider east is back: it refused 4 attempts of the gate and 7 direct ones; "
        "calls that failed meanwhile: 0 through the gate, 3 direct"
    )
    assert "0 attempts of the gate and 0 direct ones" in heard[1].text
