"""How surely an entry answers a question of a given similarity, and how often it may then be served.

Of each entry labels are kept: how similar a question was, by hundredths, and whether the model's own answer to it was
the entry's. The chance of that is a logistic curve, rising with the similarity: the slope is that of the route, the
height u the entry's own, with the route's mean in the weight of ten labels as its Beta prior; the posterior of u is
summed over a grid. Serving with probability delta / (eps + (1 - eps)(1 - p_low(eps))) keeps the share of lookups that
are answered wrongly below delta at every level eps (the argument of vCache, ICLR 2026), so the best of six is taken.
"""

from __future__ import annotations

from math import exp, log1p
from typing import Final

LABELS_MAX: Final = 1_024  # then they count half: 64 would never let more than one question of seven be served
POOLED_MAX: Final = 3  # of an entry's labels: a popular question must not speak for all others
PRIOR_WEIGHT: Final = 10.0
LEVELS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
SAME_LEAST, ASKERS_LEAST = 3, 2  # labels that say "the same", and who they came from
MIDDLE: Final = 0.925  # where the height of a curve is measured
LOWEST: Final = 0.85  # similarity below which nothing is nominated
BINS: Final = 15  # of a hundredth each, from `LOWEST` to 1
SLOPE_MAX: Final = 60.0
SLOPE_SD: Final = 20.0  # how far from flat the slope is thought to be before anything is known
ROUNDS: Final = 12  # of Newton's method: it has two unknowns and starts near the last answer
HEIGHTS: Final = tuple(-4.0 + 0.25 * step for step in range(53))  # -4 to 9 in logits


class Labels:
    """Comparisons by similarity."""

    __slots__ = ("different", "same")

    def __init__(self) -> None:
        self.same, self.different = [0] * BINS, [0] * BINS

    @property
    def count(self) -> int:
        return sum(self.same) + sum(self.different)

    def add(self, similarity: float, *, same: bool) -> None:
        counts = self.same if same else self.different
        counts[min(BINS - 1, max(0, int((similarity - LOWEST) * 100)))] += 1

    def halve(self) -> None:
        """Half of the ones that agree; one that does not agree is not forgotten by halves."""
        self.same = [count // 2 for count in self.same]
        self.different = [(count + 1) // 2 for count in self.different]

    def told(self) -> list[tuple[float, int, int]]:
        """By similarity, above the middle: so many the same, so many different."""
        counted = enumerate(zip(self.same, self.different, strict=True))
        return [(LOWEST + (at + 0.5) / 100 - MIDDLE, same, other) for at, (same, other) in counted if same or other]


class Route:
    """What the labels of all entries of one route say together: a curve through them."""

    __slots__ = ("height", "labels", "slope")

    def __init__(self) -> None:
        self.labels = Labels()
        self.height = 0.0  # even odds, until something is known
        self.slope = 0.0

    def __repr__(self) -> str:
        return f"Route({self.labels.count} labels, height={self.height:.2f}, slope={self.slope:.1f})"

    def learn(self, similarity: float, *, same: bool) -> None:
        if self.labels.count >= LABELS_MAX:
            self.labels.halve()
        self.labels.add(similarity, same=same)
        self._fit()

    def _fit(self) -> None:
        """The most likely curve under a normal prior on its slope and one label each way on its height."""
        told = self.labels.told()
        for _ in range(ROUNDS):
            gradient_h, gradient_s = 1.0 - 2 * _chance(self.height), -self.slope / SLOPE_SD**2
            curve_h, curve_hs, curve_s = 0.5, 0.0, 1 / SLOPE_SD**2
            for x, same, different in told:
                p = _chance(self.height + self.slope * x)
                missing, weight = same - (same + different) * p, (same + different) * p * (1 - p)
                gradient_h, gradient_s = gradient_h + missing, gradient_s + missing * x
                curve_h, curve_hs, curve_s = curve_h + weight, curve_hs + weight * x, curve_s + weight * x * x
            whole = curve_h * curve_s - curve_hs**2
            height = self.height + (curve_s * gradient_h - curve_hs * gradient_s) / whole
            slope = self.slope + (curve_h * gradient_s - curve_hs * gradient_h) / whole
            self.height = max(HEIGHTS[0], min(HEIGHTS[-1], height))
            self.slope = max(0.0, min(SLOPE_MAX, slope))


class Entry:
    """The labels of one entry, and what they prove."""

    __slots__ = ("_askers", "_bounds", "_labels", "_learnt", "_slope", "quarantined")

    def __init__(self) -> None:
        self._labels = Labels()
        self._askers: tuple[int, ...] = ()  # who have had the same answer, as far as it matters
        self._learnt = 0
        self._bounds: tuple[float, ...] = ()  # of the height, by level
        self._slope = 0.0
        self.quarantined = False

    def __repr__(self) -> str:
        return f"Entry({self.same} of {self.labels} the same, quarantined={self.quarantined})"

    @property
    def labels(self) -> int:
        return self._labels.count

    @property
    def same(self) -> int:
        return sum(self._labels.same)

    @property
    def proven(self) -> bool:
        """Whether there are labels enough to serve at all."""
        return not self.quarantined and len(self._askers) >= ASKERS_LEAST and self.same >= SAME_LEAST

    def learn(self, similarity: float, *, same: bool, asker: int, route: Route) -> None:
        """One comparison of the model's own answer with the entry's. `asker`: stands for who had asked."""
        self._learnt += 1
        if self._learnt <= POOLED_MAX:
            route.learn(similarity, same=same)
        if self._labels.count >= LABELS_MAX:
            self._labels.halve()
        self._labels.add(similarity, same=same)
        if same and len(self._askers) < ASKERS_LEAST and asker not in self._askers:
            self._askers = (*self._askers, asker)
        self._slope = route.slope
        self._bounds = _posterior(self._labels, route)

    def p_low(self, similarity: float) -> tuple[float, ...]:
        """The chance that its answer is the right one, which the truth is below with a chance of each of `LEVELS`."""
        rise = self._slope * (similarity - MIDDLE)
        return tuple([_chance(height + rise) for height in self._bounds])

    def serve(self, similarity: float, error_max: float) -> float:
        """With which probability it may answer, if a share of `error_max` of all lookups may be answered wrongly."""
        return min(1.0, error_max / self.wrong_at_most(similarity)) if self.proven else 0.0

    def wrong_at_most(self, similarity: float) -> float:
        """The chance that its answer is a wrong one, by the level that says the least."""
        if not self._bounds:
            return 1.0
        return min([eps + (1 - eps) * (1 - low) for eps, low in zip(LEVELS, self.p_low(similarity), strict=True)])


def _posterior(labels: Labels, route: Route) -> tuple[float, ...]:
    """Of the height, below which it lies with a chance of each of `LEVELS`."""
    mean, told = _chance(route.height), labels.told()
    logs = []
    for u in HEIGHTS:
        chance = PRIOR_WEIGHT * (mean * _log_chance(u) + (1 - mean) * _log_chance(-u))
        for x, same, different in told:
            logit = u + route.slope * x
            chance += same * _log_chance(logit) + different * _log_chance(-logit)
        logs.append(chance)
    highest = max(logs)
    return _quantiles([exp(chance - highest) for chance in logs])


def _quantiles(weights: list[float]) -> tuple[float, ...]:
    """The heights below which a share of each of `LEVELS` lies, rounded down to the grid."""
    total, passed, at = sum(weights), 0.0, 0
    found = []
    for level in LEVELS:
        while passed + weights[at] < level * total:
            passed += weights[at]
            at += 1
        found.append(HEIGHTS[at])
    return tuple(found)


def _chance(logit: float) -> float:
    return 1 / (1 + exp(-logit)) if logit >= 0 else 1 - 1 / (1 + exp(logit))


def _log_chance(logit: float) -> float:
    """log(_chance(logit)), exact also where that is tiny."""
    return -log1p(exp(-logit)) if logit >= 0 else logit - log1p(exp(logit))
