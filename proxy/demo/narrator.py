"""The event strip: what befalls the providers, what the gate does about it, and what a fault cost each column.

That a fault begins and ends is the story's; the gate's doings and every number are seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from msgspec import Struct

from proxy.cli.table import counted, dollars
from proxy.clock import Clock
from proxy.demo.fleet import Tally
from proxy.demo.news import News
from proxy.demo.result import Event
from proxy.demo.runaway import AGENT, BUDGET_USD, RUN, Runaway
from proxy.demo.story import Story, Window
from proxy.demo.vendor import Vendor

BEGINS: Mapping[str, str] = {
    "slow": "provider {} says 200 to many calls and then nothing for {:.1f} s: its direct agents wait",
    "down": "provider {} is down (500): its direct agents can only try it again",
}
ENDS: Mapping[str, str] = {"slow": "is as fast as before", "down": "is well again"}
LOOK_S = 0.5


class Counts(Struct, frozen=True):
    hit_gate: int
    hit_direct: int
    failed_gate: int
    failed_direct: int


class Side(Struct, frozen=True):
    """What is counted of one column."""

    vendors: Mapping[str, Vendor]
    tally: Tally
    runaway: Runaway


class Narrator:
    """`hear` gets each event as it is told."""

    def __init__(self, story: Story, *, direct: Side, gate: Side, clock: Clock, hear: Callable[[Event], None]) -> None:
        self.events: list[Event] = []
        self._story = story
        self._direct = direct
        self._gate = gate
        self._clock = clock
        self._hear = hear
        self._began_at = clock.now()

    async def tell(self) -> None:
        """Until the story has no more events."""
        edges = [(window.begins_s, True, window) for window in self._story.windows]
        edges += [(window.ends_s, False, window) for window in self._story.windows]
        before: dict[Window, Counts] = {}
        for at_s, begins, window in sorted(edges, key=lambda edge: edge[:2]):  # one ends before another begins
            await self._until(at_s)
            if begins:
                before[window] = self._counts(window)
                self.say(BEGINS[window.kind].format(window.provider, self._story.silence_s))
            else:
                self.say(_end(window, before[window], self._counts(window)))

    async def tell_of_runaways(self) -> None:
        """When they begin, when the gate refuses its own, when somebody stops the direct one."""
        span, wild = self._story.runaway, self._gate.runaway
        await self._until(span.begins_s)
        self.say(f"agent {AGENT} asks without end; at the gate it has a budget of ${BUDGET_USD}")
        await wild.over.wait()
        if wild.refused:
            loops = f"answered by now: {counted(wild.answered, 'call')}, still running: {wild.tally.in_flight}"
            self.say(f"gate: agent {AGENT} is refused ({wild.refused}); {loops}")
        await self._until(span.ends_s)
        invoices = [invoice for vendor in self._direct.vendors.values() for invoice in vendor.invoices.values()]
        spent = sum(invoice.usd_nanos for invoice in invoices if invoice.run == RUN)
        calls = counted(self._direct.runaway.answered, "call")
        self.say(f"somebody stops the direct {AGENT}: {calls}, {dollars(spent)} by now; what still runs is billed too")

    async def _until(self, at_s: float) -> None:
        await asyncio.sleep(max(0.0, at_s - self._at_s))

    @property
    def _at_s(self) -> float:
        """Of the story."""
        return self._clock.now() - self._began_at

    async def follow(self, news: News) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.pass_on(news)

    def pass_on(self, news: News) -> None:
        for text in news.look():
            self.say(f"gate: {text}")

    def say(self, text: str) -> None:
        event = Event(round(self._at_s, 1), text)
        self.events.append(event)
        self._hear(event)

    def _counts(self, window: Window) -> Counts:
        return Counts(
            hit_gate=_hit(self._gate.vendors[window.provider]),
            hit_direct=_hit(self._direct.vendors[window.provider]),
            failed_gate=self._gate.tally.failed,
            failed_direct=self._direct.tally.failed,
        )


def _hit(vendor: Vendor) -> int:
    return vendor.refused + vendor.silent


def _end(window: Window, before: Counts, after: Counts) -> str:
    hit_gate, hit_direct = after.hit_gate - before.hit_gate, after.hit_direct - before.hit_direct
    failed_gate, failed_direct = after.failed_gate - before.failed_gate, after.failed_direct - before.failed_direct
    return (
        f"provider {window.provider} {ENDS[window.kind]}: it struck {hit_gate} attempts of the gate and "
        f"{hit_direct} direct ones; calls that failed meanwhile: {failed_gate} through the gate, {failed_direct} direct"
    )
