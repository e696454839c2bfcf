"""The arithmetic of the report: medians, percentiles, ratios, a slope. Pure functions over plain numbers."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest rank: a value that was really measured. 0 for no values."""
    if not values:
        return 0.0
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else 0.0


def ratios(values: Sequence[float], yardstick: Sequence[float]) -> list[float]:
    """Round by round, so that a machine that slows down for a while changes both sides of one fraction."""
    return [value / other for value, other in zip(values, yardstick, strict=True) if other]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares; 0 when there are too few points to tell."""
    if len({x for x, _ in points}) < 2:
        return 0.0
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return statistics.linear_regression(xs, ys).slope
