"""What goes wrong at the simulated providers, and when: the script of the demo, the same for both columns.

Everything is a share of the demo's length. Latencies, and how an SDK waits between its retries, are not scaled: a short
demo is a shorter story, not a faster world. Nothing here knows who calls.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

PROVIDERS = ("east", "west", "north")
FULL_S = 60.0
PACE_LEAST = 0.25  # of the think times and stalls of a full-length demo
# An SDK's two retries bridge about 1.5 s. What is shorter than this would be a hiccup, not an outage.
OUTAGE_LEAST_S = 2.5

Kind = Literal["down", "limited"]


class Window(Struct, frozen=True):
    """A time in which a provider refuses `share` of its calls: with 503 when it is down, with 429 when limited."""

    provider: str
    kind: Kind
    begins_s: float
    ends_s: float
    share: float

    def covers(self, provider: str, at_s: float) -> bool:
        return provider == self.provider and self.begins_s <= at_s < self.ends_s


class Story(Struct, frozen=True):
    seconds: float
    windows: tuple[Window, ...]
    stall_share: float  # of all calls: those that get no first token for `stall_s`
    stall_s: float
    think_s: float  # median of an agent's pause between two steps

    def window(self, provider: str, at_s: float) -> Window | None:
        return next((window for window in self.windows if window.covers(provider, at_s)), None)


def story(seconds: float) -> Story:
    pace = max(PACE_LEAST, min(1.0, seconds / FULL_S))
    outage_s = max(0.25 * seconds, OUTAGE_LEAST_S)
    return Story(
        seconds=seconds,
        windows=(
            _window("west", "limited", begins_s=0.15 * seconds, length_s=0.08 * seconds),
            _window("east", "down", begins_s=0.40 * seconds, length_s=outage_s),
            _window("north", "limited", begins_s=0.75 * seconds, length_s=0.08 * seconds),
        ),
        stall_share=0.05,
        stall_s=4.0 * pace,
        think_s=1.0 * pace,
    )


def _window(provider: str, kind: Kind, *, begins_s: float, length_s: float) -> Window:
    share = 1.0 if kind == "down" else 0.7
    return Window(provider, kind, begins_s, begins_s + length_s, share)
