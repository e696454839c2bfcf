"""What became of recorded calls under one configuration, in figures; and whether two configurations differ.

Both sides are asked the same questions, so a difference is judged pair by pair, which takes the questions' own spread
out of it: the mean of the differences with a 95 % interval, by the normal law. A share of good answers counts a call
without an answer as not good.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import inf, sqrt
from typing import Final, Literal

from msgspec import Struct

from policies import interval
from policies.interval import Z
from proxy.simulate.world import Ended, Lived

NANOS: Final = 1e9
TOP: Final = 5  # error codes that are named

Verdict = Literal["less", "more", "no difference shown"]


class Spread(Struct, frozen=True):
    """Seconds; None: there was nothing to measure."""

    p50: float | None
    p95: float | None
    p99: float | None


class Figures(Struct, frozen=True):
    """Of one side. Shares are of all recorded calls."""

    calls: int
    answered: float
    good: float
    usd: float  # all of it: calls that the gate made itself as well
    usd_a_good_answer: float | None  # None: there was none
    aside: int  # calls that the gate made itself
    first_event_s: Spread
    duration_s: Spread
    run_s: Spread
    attempts_a_call: float
    input_cached: float  # share of the input tokens that providers had in their caches
    escalated: float
    served_by: dict[str, float]
    targets: dict[str, float]  # share of the answers
    errors: dict[str, int]
    unpriced: int
    left_out: tuple[str, ...]


class Difference(Struct, frozen=True):
    """The candidate's less today's, of one call."""

    mean: float
    low: float
    high: float
    verdict: Verdict


class Comparison(Struct, frozen=True):
    usd: Difference
    good: Difference
    duration_s: Difference | None  # of the calls that both have answered; None: there are none
    good_at_equal_cost: float | None  # good answers of the candidate for what today's cost, by those of today


def figures(lived: Lived) -> Figures:
    ended = lived.ended
    count = len(ended)
    outcomes = [each.outcome for each in ended]
    answered = [each.outcome for each in ended if each.right is not None]
    costs = [outcome.cost_usd_nanos for outcome in (*outcomes, *lived.aside)]
    usd, good = sum([cost or 0 for cost in costs]) / NANOS, sum([each.right is True for each in ended])
    usages = [attempt.usage for outcome in outcomes for attempt in outcome.attempts if attempt.usage is not None]
    errors = Counter(each.outcome.error_code or str(each.outcome.status) for each in ended if each.right is None)
    return Figures(
        calls=count,
        answered=len(answered) / count,
        good=good / count,
        usd=usd,
        usd_a_good_answer=usd / good if good else None,
        aside=len(lived.aside),
        first_event_s=_spread([outcome.first_event_s for outcome in answered if outcome.first_event_s is not None]),
        duration_s=_spread([outcome.duration_s for outcome in answered]),
        run_s=_spread(lived.runs_s),
        attempts_a_call=sum([len(outcome.attempts) for outcome in outcomes]) / count,
        input_cached=_share(sum([use.input_cached for use in usages]), sum([use.input_total for use in usages])),
        escalated=sum([len(outcome.climbed) > 1 for outcome in outcomes]) / count,
        served_by=_shares([outcome.served_by for outcome in answered]),
        targets=_shares([outcome.target.id for outcome in answered if outcome.target is not None]),
        errors=dict(errors.most_common(TOP)),
        unpriced=sum([cost is None for cost in costs]),
        left_out=lived.left_out,
    )


def compared(today: Lived, candidate: Lived) -> Comparison:
    """Of the same calls, in the same order."""
    pairs = list(zip(today.ended, candidate.ended, strict=True))
    both = [(one, other) for one, other in pairs if one.right is not None and other.right is not None]
    one, other = figures(today), figures(candidate)
    rates = [side.good / side.usd for side in (one, other) if side.usd]
    longer = [other.outcome.duration_s - one.outcome.duration_s for one, other in both]
    return Comparison(
        usd=difference([_usd(other) - _usd(one) for one, other in pairs]),
        good=difference([float(other.right is True) - float(one.right is True) for one, other in pairs]),
        duration_s=difference(longer) if longer else None,
        good_at_equal_cost=rates[1] / rates[0] if len(rates) == 2 and rates[0] else None,
    )


def difference(each: Sequence[float]) -> Difference:
    """Of at least one pair."""
    found = interval.mean([(value, 1.0) for value in each])
    assert found is not None
    mean, reach = found.value, inf if found.variance is None else Z * sqrt(found.variance)
    verdict: Verdict = "less" if mean + reach < 0 else "more" if mean - reach > 0 else "no difference shown"
    return Difference(mean, mean - reach, mean + reach, verdict)


def _usd(ended: Ended) -> float:
    return (ended.outcome.cost_usd_nanos or 0) / NANOS


def _spread(values: Sequence[float]) -> Spread:
    ranked = sorted(values)
    if not ranked:
        return Spread(None, None, None)
    return Spread(*[ranked[min(len(ranked) - 1, int(share * len(ranked)))] for share in (0.5, 0.95, 0.99)])


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _shares(names: Sequence[str]) -> dict[str, float]:
    return {name: count / len(names) for name, count in Counter(names).most_common()}
