"""Which calls are not let in while too many wait for a target: the least urgent first, and among equals the new runs.

A controller for each target holds the time that calls would have to queue near a goal, 1 s for interactive ones and
10 s for standard ones. It moves a threshold; every call has a rank on the same scale, and those below are turned away.
The scale begins with batch calls and ends below critical ones, which are never shed. Inside a tier, new runs come
first, then those that have got least far: a run that is cut off wastes all that it has done. New runs are told apart by
a draw on their name, so that a part of them gets in and then stays in, instead of all of them now and then (the
admission levels of DAGOR; Zhou et al., SoCC 2018). Whoever asks sheds nothing where nobody waits, and spares agents
that hardly wait: the threshold decides who fills a queue, never whether a target stands idle.

Proportional-integral, after "Controlling Queue Delay" (Nichols and Jacobson, 2012) in what it measures: sojourn time,
not length. The error is relative to the goal. It knows no clock: whoever asks says what time it is, and the steps since
the last time are made up for.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

from policies.tiers import TIERS

INTERACTIVE_S: Final = 1.0
STANDARD_S: Final = 10.0
EVERY_S: Final = 0.25  # a step
PROPORTIONAL: Final = 0.1
INTEGRAL: Final = 0.02  # for each step
BAND: Final = 0.1  # so near to the goal nothing is changed
ERROR_MAX: Final = 3.0  # above the goal by so many times itself, more does not matter
STEPS_MAX: Final = 240  # after a minute, whatever was before has been unlearnt
LEVEL_MAX: Final = 0.999
SPAN: Final = 1 / (len(TIERS) - 1)  # of a tier, on the scale from 0 to 1
NEW: Final = 0.25  # of a tier's span are its new runs, half are those that go on, and between them nobody can be hit
HALF_WAY: Final = 8  # answers after which a run is half as precious as can be
DRAWS: Final = 1 << 32


def rank(tier: int, steps: int, name: str) -> float:
    """From 0, the first to be shed, to 1, which never is. `steps`: of the run, answered so far; `name`: of the run."""
    if tier == 0:
        return 1.0
    inside = NEW * crc32(name.encode()) / DRAWS if steps == 0 else 0.5 + 0.5 * steps / (steps + HALF_WAY)
    return (len(TIERS) - 1 - tier + inside) * SPAN


class Shedder:
    """`level`: calls of a lower rank are turned away."""

    __slots__ = ("_at", "_sum", "level")

    def __init__(self) -> None:
        self.level = 0.0
        self._sum = 0.0
        self._at: float | None = None  # of the last step

    def __repr__(self) -> str:
        return f"Shedder({self.level:.2f})"

    @property
    def overloaded(self) -> bool:
        return self.level > 0.0

    def look(self, interactive: float, standard: float, now: float) -> None:
        """The time that a call of either tier, or of one above it, would have to wait, in parts of its goal."""
        if self._at is None:
            self._at = now
        steps = int((now - self._at) / EVERY_S)
        if steps <= 0:
            return
        self._at += steps * EVERY_S
        error = max(interactive, standard) - 1.0
        if abs(error) < BAND:
            return
        error = min(error, ERROR_MAX)
        self._sum = min(max(self._sum + INTEGRAL * error * min(steps, STEPS_MAX), 0.0), LEVEL_MAX)
        self.level = min(max(self._sum + PROPORTIONAL * error, 0.0), LEVEL_MAX)
