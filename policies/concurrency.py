"""How many calls a target can bear at a time, learned from its answers where nobody has said it.

An engine of one's own is measured: when first events take longer than their prompts explain, fewer calls are sent at a
time (the gradient of Netflix's concurrency-limits, against a prediction instead of the best time seen, because here
prompts differ by orders of magnitude), and hardly more while calls wait there for one another. A vendor is probed: a
refusal takes three tenths off, successes add one by one (AIMD; Chiu and Jain, 1989). Neither limits anything before
there was a reason to, and neither grows while what it allows is not used: such a limit would have proven nothing. Rates
are `provider_limits`' business.
"""

from __future__ import annotations

from math import inf
from typing import Final, Literal, NamedTuple, Protocol

Mode = Literal["measured", "refusals", "started"]  # `started`: as after a refusal, from the first call on

EWMA: Final = 0.1
RATIO_ALLOWED: Final = 1.3
RATIO_MOST: Final = 1.7  # of one answer: a straggler says no more, and where all are so late the cut is the largest
FACTOR_LEAST: Final = 0.8
FACTOR_MOST: Final = 1.05
GROWTH: Final = 0.01
SAMPLES: Final = 20
CUT: Final = 0.7
CUT_EVERY_S: Final = 1.0
EXCUSE: Final = 0.1  # of a time-out, for each answer
EXCUSES_MOST: Final = 5.0
START: Final = 16.0
MOST: Final = 512.0
USED: Final = 0.5  # of the limit, by what is running, or it does not grow


class Explained(NamedTuple):
    """What the first event of a call should have taken, in seconds."""

    predicted_s: float  # by its uncached prompt, and those before it
    alone_s: float  # by its own prompt


class Adaptive(Protocol):
    """`limit` is infinite until there was a reason for one. Its methods say whether it has changed."""

    limit: float

    def answered(self, first_event_s: float, explained: Explained | None, running: int) -> bool: ...
    def refused(self, running: int, now: float) -> bool: ...
    def timed_out(self, running: int, now: float) -> bool: ...


class Cut:
    """What both have in common: they are cut by refusals and time-outs, at most once a second, since those that come
    together have one cause. One time-out among many answers is the fault of something else."""

    __slots__ = ("_cut_at", "_excuses", "limit")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._cut_at = -inf
        self._excuses = 0.0  # time-outs that answers have made good

    def refused(self, running: int, now: float) -> bool:
        """A 429; so many calls ran."""
        return self._cut(running, now)

    def timed_out(self, running: int, now: float) -> bool:
        """No first event came in time; so many calls ran."""
        if self._excuses >= 1.0:
            self._excuses -= 1.0
            return False
        return self._cut(running, now)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.limit:.1f})"

    def _answered(self) -> None:
        self._excuses = min(EXCUSES_MOST, self._excuses + EXCUSE)

    def _cut(self, running: int, now: float) -> bool:
        if now - self._cut_at < CUT_EVERY_S:
            return False
        self._cut_at = now
        self.limit = max(1.0, CUT * (max(START, running) if self.limit == inf else self.limit))
        return True

    def _used(self, running: int) -> bool:
        return running >= USED * self.limit


class Measured(Cut):
    """An engine of one's own, by how soon it begins to answer."""

    __slots__ = ("_alone_s", "_predicted_s", "_samples", "_seen_s")

    def __init__(self) -> None:
        super().__init__(inf)
        self._seen_s = self._predicted_s = self._alone_s = 0.0  # running means
        self._samples = 0

    def answered(self, first_event_s: float, explained: Explained | None, running: int) -> bool:
        """The means are compared, not the mean of what each call waited: short prompts behind long ones would rule it.
        `explained` None: nobody knows yet; then a limit that time-outs have set grows one by one."""
        self._answered()
        if explained is not None and explained.predicted_s:
            predicted_s = explained.predicted_s
            self._seen_s += EWMA * (min(first_event_s, RATIO_MOST * predicted_s) - self._seen_s)
            self._predicted_s += EWMA * (predicted_s - self._predicted_s)
            self._alone_s += EWMA * (explained.alone_s - self._alone_s)
        elif self.limit == inf:
            return False
        self._samples += 1
        if self._samples < SAMPLES:
            return False
        self._samples = 0
        return self._step(running)

    def _step(self, running: int) -> bool:
        if not self._predicted_s:
            grown = self.limit + 1.0
        else:
            factor = RATIO_ALLOWED * self._predicted_s / max(self._seen_s, 1e-9)
            factor = min(FACTOR_MOST, max(FACTOR_LEAST, factor)) + GROWTH
            if factor > 1.0 and self._seen_s > RATIO_ALLOWED * self._alone_s:
                factor = 1.0 + GROWTH if self._excuses >= EXCUSES_MOST else 1.0  # more of them would only wait longer
            grown = (running if self.limit == inf else self.limit) * factor
        if grown >= self.limit and not self._used(running):
            return False
        if self.limit == inf and grown >= running:
            return False
        self.limit = max(1.0, grown)
        return True


class Refusals(Cut):
    """A vendor, by its refusals alone: how soon it answers depends on others."""

    __slots__ = ("_successes",)

    def __init__(self, limit: float = inf) -> None:
        super().__init__(limit)
        self._successes = 0

    def answered(self, first_event_s: float, explained: Explained | None, running: int) -> bool:
        self._answered()
        if self.limit == inf:
            return False
        self._successes += 1
        if self._successes < SAMPLES:
            return False
        self._successes = 0
        if self.limit >= MOST or not self._used(running):
            return False
        self.limit = min(MOST, self.limit + 1.0)
        return True


def adaptive(mode: Mode | None, share: float) -> Adaptive | None:
    """`share`: this process's part of what is started with; the rest it learns from its own calls."""
    if mode is None:
        return None
    if mode == "measured":
        return Measured()
    return Refusals(max(1.0, START * share) if mode == "started" else inf)
