"""When a call that has hours left should go: now, at a quieter time, or at last because its time runs out.

A target is quiet while nobody waits for it and half of what is known to limit it is free. Who waits for that is rescued
in time: with twice as long left as nearly all such answers take, and ten minutes for what goes wrong. Which calls have
hours is their agent's word and their client's; it knows no clock and no lines.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from proxy.types import Call

SLACK_S: Final = 600.0
TIMES: Final = 2.0  # of the 99th percentile of such answers
SPARE: Final = 0.5


class Load(Struct, frozen=True):
    """Of one target, as far as it is known."""

    waiting: bool  # somebody does
    running: int
    concurrency: float  # infinite: any number
    left: float = 1.0  # of its tightest rate, 0 to 1

    @property
    def quiet(self) -> bool:
        return not self.waiting and self.running < SPARE * self.concurrency and self.left >= SPARE


def may_wait(call: Call, now: float) -> bool:
    """Whether it has more time than any rescue needs. What the gate itself has made takes a place where it was made,
    such as one of the lines of all batches, for as long as it is held."""
    return call.priority == "batch" and not call.origin and call.deadline - now > SLACK_S


def rescue_at(call: Call, p99_s: float) -> float:
    """When it goes whatever the load. `p99_s`: of such answers; 0 where nobody knows."""
    return call.deadline - (TIMES * p99_s + SLACK_S)
