"""What so many failures among so many trials prove of the chance of one: exact one-sided bounds, and how odd they are.

Counts may be fractions, where one observation was shared over several trials: the binomial tail is the regularised
incomplete beta function, which is defined for them too (Clopper and Pearson, 1934). Its continued fraction is summed
by Lentz's method, as in "Numerical Recipes" (Press et al., 3rd ed., section 6.4).
"""

from __future__ import annotations

from math import exp, lgamma, log, log1p
from typing import Final

TERMS_MAX: Final = 300
PRECISION: Final = 1e-10
TINY: Final = 1e-300
HALVINGS: Final = 30


def upper(failures: float, trials: float, confidence: float = 0.9) -> float:
    """The chance of a failure is not above this, but for one case in 1 / (1 - confidence). Without trials: 1."""
    if failures >= trials:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_below(failures, trials, middle, confidence) else (middle, high)
    return high


def is_below(failures: float, trials: float, bound: float, confidence: float = 0.9) -> bool:
    """Whether `upper` is at most `bound`, for a fraction of its work."""
    if failures >= trials:
        return bound >= 1.0
    return beta_share(bound, failures + 1, trials - failures) >= confidence


def as_many(failures: float, trials: float, chance: float) -> float:
    """How likely it is to see so many failures or more, if each trial fails with this chance."""
    return 1.0 if failures <= 0 else beta_share(chance, failures, trials - failures + 1)


def beta_share(x: float, a: float, b: float) -> float:
    """The share of a beta distribution that lies below `x`."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(1.0 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    above, below = 1.0, 1.0 / _kept_off_zero(1.0 - (a + b) * x / (a + 1))
    total = below
    for m in range(1, TERMS_MAX):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            below = 1.0 / _kept_off_zero(1.0 + term * below)
            above = _kept_off_zero(1.0 + term / above)
            total *= above * below
        if abs(above * below - 1.0) < PRECISION:
            break
    return total


def _kept_off_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY
