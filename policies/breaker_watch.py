"""One attempt as breakers see it: when it counts, how much, and against whom.

A success counts when the first event is there, since a stream may last for minutes in which only failures would be
heard of. A stream that breaks afterwards counts as both. What is nobody's fault, and who only asks for less, is not
counted at all. The states that follow stand in `breaker_state`, the pools in `breaker`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from policies.breaker_state import Breaker, Transition
from proxy.types import Lesson

OUT_LEAST: Final = 3  # of a provider's targets, and three quarters of them


class Vendor:
    """What the targets of one provider have in common."""

    __slots__ = ("failed_probes", "key", "out", "targets", "worked")

    def __init__(self, name: str) -> None:
        self.key = Breaker(name)
        self.targets: dict[str, Breaker] = {}
        self.worked: set[str] = set()  # those that have answered; others may be names that a client made up
        self.out: set[str] = set()  # of these, not closed
        self.failed_probes = 0

    def __repr__(self) -> str:
        return f"Vendor({self.key.name}, {len(self.out)} of {len(self.worked)} out, key {self.key.state})"

    @property
    def shut(self) -> bool:
        return len(self.out) >= OUT_LEAST and 4 * len(self.out) >= 3 * len(self.worked)


Turned = Callable[[Transition, Breaker, Vendor], None]


class Watch:
    """One attempt, from before it is sent until it has ended; `ended` is called whatever happens."""

    __slots__ = ("_answered", "_breaker", "_ended", "_generation", "_key", "_key_generation", "_turned", "_vendor")

    def __init__(self, breaker: Breaker, vendor: Vendor, turned: Turned) -> None:
        key = vendor.key
        self._turned = turned
        self._breaker = breaker
        self._vendor = vendor
        self._key = key
        self._generation = breaker.generation
        self._key_generation = key.generation
        self._answered = self._ended = False
        breaker.trials += 1
        key.trials += 1

    def __repr__(self) -> str:
        return f"Watch({self._breaker.name}, generation {self._generation}, ended={self._ended})"

    def answered(self, now: float) -> None:
        """Its first event is there. That is what counts as a success: streams may last for minutes."""
        if self._answered or self._ended:
            return
        self._answered = True
        self._leave(now)
        breaker, key = self._breaker, self._key
        self._vendor.worked.add(breaker.name)
        if (turned := breaker.good(self._generation, now)) is not None:
            self._turned(turned, breaker, self._vendor)
        if key.state != "closed" and (turned := key.good(self._key_generation, now)) is not None:
            self._turned(turned, key, self._vendor)

    def ended(self, lesson: Lesson, code: str | None, *, now: float, rng: Random) -> None:
        """The second time: nothing. `code` of the error, if one ended it."""
        if self._ended:
            return
        if lesson == "success" and not self._answered:
            self.answered(now)
        self._ended = True
        if not self._answered:
            self._leave(now)
        weight = weight_of(lesson, code)
        if weight:
            self._failed(weight, code, now, rng)

    def _failed(self, weight: float, code: str | None, now: float, rng: Random) -> None:
        """A refused credential opens at once. It is the key's fault, unless the target was out before: a key that has
        come back by another target is good, and what is refused is this model."""
        breaker, key, generation = self._breaker, self._key, self._generation
        if code != "upstream_auth" or breaker.state == "open":
            turned = breaker.bad(weight, generation, code, now=now, rng=rng)
            if turned is not None:
                self._turned(turned, breaker, self._vendor)
        elif generation == breaker.generation:
            was_closed = breaker.state == "closed"
            self._turned(breaker.trip("auth", code, now=now, rng=rng), breaker, self._vendor)
            if was_closed and key.state != "open" and self._key_generation == key.generation:
                self._turned(key.trip("auth", code, now=now, rng=rng), key, self._vendor)

    def _leave(self, now: float) -> None:
        if self._generation == self._breaker.generation:
            self._breaker.trials -= 1
            self._breaker.idle_since = now
        if self._key_generation == self._key.generation:
            self._key.trials -= 1
            self._key.idle_since = now


def weight_of(lesson: Lesson, code: str | None) -> float:
    """How bad it was, 0 to 1. A 429 is no fault: the target is well, and its limits are the rate buckets' business."""
    if lesson == "failure":
        return 1.0
    return 0.5 if lesson == "overload" and code != "upstream_overloaded" else 0.0
