"""When an attempt that failed may be followed by another, and how long to wait before it.

`Retry` knows one call's rules; `AttemptBudget` is the one allowance that all retries of the gate draw from, so that an
outage is not answered with a multiple of its load. Full jitter after "Exponential Backoff And Jitter" (Brooker, 2015);
the budget after Finagle's RetryBudget. Whether an error can be retried at all is the error table's word.
"""

from __future__ import annotations

from random import Random

from msgspec import Struct

from proxy.errors import ProxyError

BACKOFF_BASE_S = 0.25
BACKOFF_CAP_S = 8.0
DEPOSITS_A_SECOND = 0.1
BURST = 10.0


class Retry(Struct, frozen=True):
    """At most `attempts` attempts a call, the first included."""

    attempts: int = 3

    def delay_s(self, number: int, error: ProxyError, rng: Random) -> float | None:
        """Seconds to wait after attempt `number` (from 1) failed with `error`; None: do not try again."""
        if number >= self.attempts or error.retry == "never":
            return None
        jittered = rng.random() * min(BACKOFF_CAP_S, BACKOFF_BASE_S * (1 << (number - 1)))
        return max(jittered, error.retry_after_s or 0.0)


class AttemptBudget:
    """`share` of a withdrawal for each success, plus a trickle that lets a quiet gate retry at all."""

    def __init__(self, share: float = 0.1, burst: float = BURST) -> None:
        self.share = share
        self._burst = burst
        self._balance = burst
        self._seen_at: float | None = None

    def __repr__(self) -> str:
        return f"AttemptBudget({self._balance:.2f} of {self._burst:g}, +{self.share:g} a success)"

    def remaining_ratio(self, now: float) -> float:
        """From any thread: nothing is written."""
        since_s = 0.0 if self._seen_at is None else max(0.0, now - self._seen_at)
        return min(1.0, (self._balance + since_s * DEPOSITS_A_SECOND) / self._burst)

    def deposit(self, now: float) -> None:
        """A call succeeded."""
        self._trickle(now)
        self._balance = min(self._burst, self._balance + self.share)

    def has_one(self, now: float) -> bool:
        self._trickle(now)
        return self._balance >= 1.0 - 1e-9  # ten deposits of a tenth are one retry, whatever binary fractions say

    def withdraw(self, now: float) -> bool:
        """Takes one retry or hedge out; False when there is none left."""
        if not self.has_one(now):
            return False
        self._balance -= 1.0
        return True

    def _trickle(self, now: float) -> None:
        if self._seen_at is not None:
            self._balance = min(self._burst, self._balance + (now - self._seen_at) * DEPOSITS_A_SECOND)
        self._seen_at = now
