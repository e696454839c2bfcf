"""One breaker: what the last minute told of a target, and whether it may be asked.

Closed, it counts. Open, it waits, longer each time. Half open, it wants three answers in a row before it closes, and
one failure opens it again. Just closed, it is on probation: as much evidence as opens a breaker has to say that it is
well, and until then few failures open it. Every transition begins a new generation, and what was begun under an older
one tells nothing. Who may make a trial, and what follows for a pool, is decided in `breaker`. The states are those of
"Release It!" (Nygard, 2007); the bound on the bad share is E. B. Wilson's (1927): a few calls prove little; probation
is a sequential probability ratio test (Wald, 1945).
"""

from __future__ import annotations

from math import inf, sqrt
from random import Random
from typing import Final, Literal

from msgspec import Struct

State = Literal["closed", "open", "half_open"]
Reason = Literal[
    "consecutive", "error_rate", "relapsed", "auth", "trial_failed", "probe_failed",
    "waited", "probe_ok", "trial_ok", "manual",
]  # fmt: skip

SLOTS: Final = 60  # seconds that are remembered
CONSECUTIVE: Final = 5
EVENTS_LEAST: Final = 20
BAD_SHARE_MOST: Final = 0.25
Z: Final = 1.2816  # one-sided, 90 %
WAIT_S: Final = 5.0
WAIT_MOST_S: Final = 300.0
DOUBLINGS_MOST: Final = 6  # more would be above the longest wait
JITTER: Final = 0.2
HEALTHY_S: Final = 600.0  # closed for so long, one doubling is forgiven
SUCCESSES: Final = 3
PROBATION: Final = EVENTS_LEAST  # answers that a target owes once it has closed
RELAPSE: Final = 6.0  # answers that a failure weighs: log(0.30 / 0.05) / log(0.95 / 0.70), ill against well


class Transition(Struct, frozen=True):
    """`name` is a target's id, or the name of a provider whose key it is about. `wait_s`: until the next trial."""

    name: str
    to: State
    reason: Reason
    code: str | None = None  # the last failure
    wait_s: float = 0.0


def proven_share(bad: float, events: int) -> float:
    """The share of bad events that is surely exceeded, as far as so few or so many can prove it."""
    share, z2 = bad / events, Z * Z
    middle = share + z2 / (2 * events)
    spread = Z * sqrt(share * (1 - share) / events + z2 / (4 * events * events))
    return (middle - spread) / (1 + z2 / events)


class Window:
    """The last minute. An event is bad by a weight of 0 to 1."""

    __slots__ = ("_bad", "_events", "_second", "bad", "events")

    def __init__(self) -> None:
        self._events = [0] * SLOTS
        self._bad = [0.0] * SLOTS
        self._second = 0
        self.events = 0
        self.bad = 0.0

    def add(self, bad: float, now: float) -> None:
        if (second := int(now)) != self._second:
            self._forget(second)
        slot = second % SLOTS
        self._events[slot] += 1
        self.events += 1
        if bad:
            self._bad[slot] += bad
            self.bad += bad

    def share(self, now: float) -> float:
        self._forget(int(now))
        return self.bad / self.events if self.events else 0.0

    def _forget(self, second: int) -> None:
        for passed in range(max(self._second, second - SLOTS) + 1, second + 1):
            slot = passed % SLOTS
            self.events -= self._events[slot]
            self.bad -= self._bad[slot]
            self._events[slot], self._bad[slot] = 0, 0.0
        self._second = second


class Breaker:
    __slots__ = (
        *("closed_at", "code", "doublings", "generation", "idle_since", "in_a_row", "name", "owed", "reason"),
        *("rejected", "retry_at", "state", "successes", "trials", "window"),
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: State = "closed"
        self.generation = 0
        self.reason: Reason | None = None  # of the last transition
        self.code: str | None = None  # of the last failure
        self.window = Window()
        self.in_a_row = 0  # bad events since the last good one
        self.owed = 0.0  # answers until probation is over
        self.doublings = 0
        self.retry_at = self.idle_since = self.closed_at = -inf
        self.trials = 0  # that run
        self.successes = 0  # since it is not closed
        self.rejected = 0  # times it was left out of a pool, ever

    def __repr__(self) -> str:
        return f"Breaker({self.name}, {self.state}, {self.window.bad:g} of {self.window.events} bad, {self.reason})"

    def is_well(self, bad_most: float, now: float) -> bool:
        """Whether it is known to fail no more than this share of its calls, and has not just failed."""
        if self.state != "closed" or self.in_a_row:
            return False
        return self.window.share(now) <= bad_most and self.window.events >= EVENTS_LEAST

    # --- what attempts tell ------------------------------------------------------------------------------------------

    def good(self, generation: int, now: float) -> Transition | None:
        if generation != self.generation:
            return None
        if self.state == "closed":
            self.in_a_row = 0
            self.window.add(0.0, now)
            if self.owed:
                self.owed = max(0.0, self.owed - 1.0)
            return None
        self.successes += 1
        return self._close(now) if self.successes >= SUCCESSES else None

    def bad(self, weight: float, generation: int, code: str | None, *, now: float, rng: Random) -> Transition | None:
        """Above 0; a whole one is 1."""
        if generation != self.generation:
            return None
        self.code = code
        if self.state == "half_open":
            return self.trip("trial_failed", code, now=now, rng=rng)
        if self.state == "open":  # it was asked because nobody better was left
            self.successes = 0
            return None
        self.in_a_row += 1
        self.window.add(weight, now)
        if self.in_a_row >= CONSECUTIVE:
            return self.trip("consecutive", code, now=now, rng=rng)
        if self.owed and self._relapsed(weight):
            return self.trip("relapsed", code, now=now, rng=rng)
        events = self.window.events
        if events >= EVENTS_LEAST and proven_share(self.window.bad, events) > BAD_SHARE_MOST:
            return self.trip("error_rate", code, now=now, rng=rng)
        return None

    def _relapsed(self, weight: float) -> bool:
        """Whether it owes more than when it was let back in."""
        self.owed += RELAPSE * weight
        return self.owed > PROBATION

    # --- transitions -------------------------------------------------------------------------------------------------

    def trip(self, reason: Reason, code: str | None, *, now: float, rng: Random) -> Transition:
        """Opens it, whatever its state."""
        if self.state == "closed" and self.doublings:
            self.doublings = max(0, self.doublings - int((now - self.closed_at) / HEALTHY_S))
        longest = min(WAIT_MOST_S, WAIT_S * (1 << self.doublings))
        wait_s = longest * (1 - JITTER * rng.random())
        self.doublings = min(DOUBLINGS_MOST, self.doublings + 1)
        self.retry_at = now + wait_s
        self.code = code
        return self._turn("open", reason, wait_s)

    def wake(self, now: float) -> Transition | None:
        """Half open once the wait is over."""
        if self.state != "open" or now < self.retry_at:
            return None
        return self.admit("waited", now)

    def admit(self, reason: Reason, now: float) -> Transition:
        """Half open, from now on."""
        self.idle_since = now
        return self._turn("half_open", reason)

    def _close(self, now: float) -> Transition:
        self.closed_at = now
        self.owed = PROBATION
        self.window = Window()
        self.in_a_row = 0
        return self._turn("closed", "trial_ok")

    def _turn(self, to: State, reason: Reason, wait_s: float = 0.0) -> Transition:
        self.state, self.reason = to, reason
        self.generation += 1
        self.trials = self.successes = 0
        return Transition(self.name, to, reason, self.code, wait_s)
