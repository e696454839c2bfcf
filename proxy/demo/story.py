"""What goes wrong at the simulated providers, and when: the script of the demo, the same for both columns.

One provider is slow, then another one is down, then all are well again and an agent runs away. Everything is a share of
the demo's length. Latencies, and how an SDK waits between its retries, are not scaled: a short demo is a shorter story,
not a faster world. Nothing here knows who calls.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

PROVIDERS = ("east", "west", "north")
FULL_S = 60.0
PACE_LEAST = 0.25  # of the think times and silences of a full-length demo
# An SDK's two retries bridge about 1.5 s. What is shorter than this would be a hiccup, not an outage.
OUTAGE_LEAST_S = 2.5
SILENCE_S = 5.0  # twenty times what a first token usually takes
SILENT_SHARE = 0.4
RUNAWAY_LEAST_S = 2.0  # some calls' worth

Kind = Literal["slow", "down"]
PhaseName = Literal["normal", "slow", "down", "healed"]


class Window(Struct, frozen=True):
    """A time in which `share` of a provider's calls goes wrong: it says 200 and falls silent when it is slow, it
    refuses with 500 when it is down."""

    provider: str
    kind: Kind
    begins_s: float
    ends_s: float
    share: float

    def covers(self, provider: str, at_s: float) -> bool:
        return provider == self.provider and self.begins_s <= at_s < self.ends_s


class Span(Struct, frozen=True):
    begins_s: float
    ends_s: float


class Phase(Struct, frozen=True):
    """One chapter, from here to the next one; what still runs at the end of the demo belongs to the last."""

    name: PhaseName
    begins_s: float


class Story(Struct, frozen=True):
    seconds: float
    windows: tuple[Window, ...]
    silence_s: float  # how long a slow provider says nothing after its head
    think_s: float  # median of an agent's pause between two steps
    runaway: Span = Span(0.0, 0.0)  # when an agent goes on and on, unless somebody stops it
    phases: tuple[Phase, ...] = (Phase("normal", 0.0),)

    def window(self, provider: str, at_s: float) -> Window | None:
        return next((window for window in self.windows if window.covers(provider, at_s)), None)

    def phase(self, at_s: float) -> PhaseName:
        begun = [phase.name for phase in self.phases if phase.begins_s <= at_s]
        return begun[-1] if begun else self.phases[0].name


def story(seconds: float) -> Story:
    pace = max(PACE_LEAST, min(1.0, seconds / FULL_S))
    slow_s, down_s = 0.20 * seconds, 0.40 * seconds
    healed_s = down_s + max(0.30 * seconds, OUTAGE_LEAST_S)
    runaway_s = min(0.75 * seconds, seconds - RUNAWAY_LEAST_S)
    return Story(
        seconds=seconds,
        windows=(
            Window("west", "slow", slow_s, down_s, SILENT_SHARE),
            Window("east", "down", down_s, healed_s, 1.0),
        ),
        silence_s=SILENCE_S * pace,
        think_s=1.0 * pace,
        runaway=Span(runaway_s, max(0.92 * seconds, runaway_s + RUNAWAY_LEAST_S)),
        phases=(Phase("normal", 0.0), Phase("slow", slow_s), Phase("down", down_s), Phase("healed", healed_s)),
    )
