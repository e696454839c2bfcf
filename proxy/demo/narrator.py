"""The event line: what befalls the providers, in words, and what it cost each column by the time it is over.

That a fault begins and ends is the story's; every number is measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from msgspec import Struct

from proxy.clock import Clock
from proxy.demo.fleet import Tally
from proxy.demo.result import Event
from proxy.demo.story import Story, Window
from proxy.demo.vendor import Vendor

BEGINS: Mapping[str, str] = {
    "down": "provider {} is down (503): the gate tries its calls elsewhere, its direct agents can only try it again",
    "limited": "provider {} refuses most calls (429): the gate tries them elsewhere, its direct agents wait for it",
}
ENDS: Mapping[str, str] = {"down": "is back", "limited": "takes all calls again"}


class Counts(Struct, frozen=True):
    refused_gate: int
    refused_direct: int
    failed_gate: int
    failed_direct: int


class Side(Struct, frozen=True):
    """What is counted of one column."""

    vendors: Mapping[str, Vendor]
    tally: Tally


class Narrator:
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
        for at_s, begins, window in sorted(edges, key=lambda edge: edge[0]):
            await asyncio.sleep(max(0.0, self._began_at + at_s - self._clock.now()))
            if begins:
                before[window] = self._counts(window)
                self.say(BEGINS[window.kind].format(window.provider))
            else:
                self.say(_end(window, before[window], self._counts(window)))

    def say(self, text: str) -> None:
        event = Event(round(self._clock.now() - self._began_at, 1), text)
        self.events.append(event)
        self._hear(event)

    def _counts(self, window: Window) -> Counts:
        return Counts(
            refused_gate=self._gate.vendors[window.provider].refused,
            refused_direct=self._direct.vendors[window.provider].refused,
            failed_gate=self._gate.tally.failed,
            failed_direct=self._direct.tally.failed,
        )


def _end(window: Window, before: Counts, after: Counts) -> str:
    refused_gate = after.refused_gate - before.refused_gate
    refused_direct = after.refused_direct - before.refused_direct
    failed_gate, failed_direct = after.failed_gate - before.failed_gate, after.failed_direct - before.failed_direct
    return (
        f"provider {window.provider} {ENDS[window.kind]}: it refused {refused_gate} attempts of the gate and "
        f"{refused_direct} direct ones; calls that failed meanwhile: {failed_gate} through the gate, "
        f"{failed_direct} direct"
    )
