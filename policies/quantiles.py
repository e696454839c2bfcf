"""How long things take: quantiles, and the wait that is left for what has already lasted a while.

Weights in buckets that grow by 4 % each, so a value is off by 2 % at most ("DDSketch", Masson, Rim and Lee, VLDB 2019).
The past fades: its weight halves once 300 seconds *and* 200 samples have gone by. Nothing is ever scaled down for it;
new samples weigh more instead. What was given up before its end is a censored sample: it would have taken longer than
its age, as long as others that got so old took (the product-limit idea of Kaplan and Meier, JASA 1958). Buckets that
grow by a factor make another scale a shift, so where there are few samples those of others can stand in.
"""

from __future__ import annotations

from array import array
from math import exp, exp2, inf, log
from typing import Final

HALF_LIFE_S: Final = 300.0
HALF_LIFE_SAMPLES: Final = 200
LEAST_S: Final = 0.001
MOST_S: Final = 1_000.0
STEP: Final = log(1.04)
LOWEST: Final = log(LEAST_S)
BUCKETS: Final = int((log(MOST_S) - LOWEST) / STEP) + 1
EDGES: Final = tuple(exp(LOWEST + bucket * STEP) for bucket in range(BUCKETS + 1))
MIDDLES: Final = tuple(exp(LOWEST + (bucket + 0.5) * STEP) for bucket in range(BUCKETS))
GROWTH_MOST: Final = exp2(1 / HALF_LIFE_SAMPLES)  # of the weight, from one sample to the next
GROWING_MOST_S: Final = HALF_LIFE_S / HALF_LIFE_SAMPLES
WEIGHT_MAX: Final = 2.0**40  # far from where a sum of floats would lose the small ones that still matter


class Quantiles:
    """Seconds. What lies outside of LEAST_S to MOST_S is counted at the edge."""

    __slots__ = ("_at", "_total", "_weight", "_weights", "added", "usual_s")

    def __init__(self) -> None:
        self._weights = array("d", bytes(8 * BUCKETS))
        self._total = 0.0
        self._weight = 1.0  # of the next sample
        self._at = inf  # of the newest sample
        self.added = 0
        self.usual_s = 0.0  # the median when it was last looked at; 0: it was not

    def __repr__(self) -> str:
        return f"Quantiles({self.count:.0f} samples, q50={self.quantile(0.5)}, q99={self.quantile(0.99)})"

    @property
    def count(self) -> float:
        """Samples, each by what is left of its weight."""
        return self._total / self._weight

    def add(self, value_s: float, now: float) -> None:
        self._grow(now)
        self._weights[_bucket(value_s)] += self._weight

    def add_censored(self, age_s: float, now: float) -> None:
        """A sample that lies somewhere above `age_s`; where nothing else does, twice as high."""
        self._grow(now)
        weights, first = self._weights, _bucket(age_s) + 1
        above = sum(weights[first:])
        if above <= 0.0:
            weights[_bucket(2.0 * age_s)] += self._weight
            return
        factor = 1.0 + self._weight / above
        for bucket in range(first, BUCKETS):
            weights[bucket] *= factor

    def quantile(self, share: float) -> float | None:
        """What `share` of the samples do not exceed. None without any."""
        rank = self._total * share
        for bucket, weight in enumerate(self._weights):
            if weight > 0.0 and rank <= weight + 1e-9 * self._total:
                return EDGES[bucket] + (EDGES[bucket + 1] - EDGES[bucket]) * min(1.0, rank / weight)
            rank -= weight
        return None

    def share_below(self, value_s: float) -> float:
        """The share of samples that took less; 0 without any."""
        return sum(self._weights[: _bucket(value_s)]) / self._total if self._total else 0.0

    def mean_remaining(self, age_s: float) -> float | None:
        """How much longer than `age_s` those take that take longer. None where none did."""
        weight = moment = 0.0
        weights = self._weights
        for bucket in range(_bucket(age_s) + 1, BUCKETS):
            if weights[bucket] > 0.0:
                weight += weights[bucket]
                moment += weights[bucket] * MIDDLES[bucket]
        return moment / weight - age_s if weight > 0.0 else None

    def patience_s(self, least_s: float, worth_s: float) -> float:
        """The first age from `least_s` on at which `worth_s` or more is still to come on average.

        Beyond everything ever seen, as much is expected to come as has gone by."""
        weight = moment = 0.0
        weights, lowest, highest = self._weights, _bucket(least_s), BUCKETS - 1
        while highest > lowest and weights[highest] <= 0.0:
            highest -= 1
        found = max(least_s, worth_s, EDGES[highest + 1])
        for bucket in range(highest, lowest, -1):
            if weights[bucket] > 0.0:
                weight += weights[bucket]
                moment += weights[bucket] * MIDDLES[bucket]
            if moment >= weight * (worth_s + EDGES[bucket]):
                found = EDGES[bucket]
        return least_s if weight > 0.0 and moment >= weight * (worth_s + least_s) else found

    def filled_up(self, shape: Quantiles, scale_s: float, count: float) -> Quantiles:
        """These samples, and the `shape` of others as if there were `count` of them, `scale_s` times as long."""
        found, factor, shift = Quantiles(), count * self._weight / shape._total, round(log(scale_s) / STEP)
        found._at, found._weight, found.added = self._at, self._weight, self.added + int(count)
        found._total = self._total + count * self._weight
        weights = found._weights
        weights[:] = self._weights
        for bucket, weight in enumerate(shape._weights):
            if weight > 0.0:
                weights[min(max(bucket + shift, 0), BUCKETS - 1)] += factor * weight
        return found

    def _grow(self, now: float) -> None:
        """The sample of `now` weighs more than all before it, by the time or the samples since, whichever is less."""
        passed = now - self._at
        if passed >= GROWING_MOST_S:
            self._weight *= GROWTH_MOST
        elif passed > 0.0:
            self._weight *= exp2(passed / HALF_LIFE_S)
        self._at = now
        self.added += 1
        self._total += self._weight
        if self._weight > WEIGHT_MAX:
            self._rescale()

    def _rescale(self) -> None:
        for bucket in range(BUCKETS):
            self._weights[bucket] /= self._weight
        self._total /= self._weight
        self._weight = 1.0


def _bucket(value_s: float) -> int:
    if value_s <= LEAST_S:
        return 0
    return int((log(value_s) - LOWEST) / STEP) if value_s < MOST_S else BUCKETS - 1
