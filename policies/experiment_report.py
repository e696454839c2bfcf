"""What an experiment has shown: of each measure both arms, the difference and what may be said of it.

A verdict follows from the interval that holds at all looks together, so looking early and often breaks nothing; the
narrower interval of one planned look stands beside it. Under 30 units in an arm nothing is said. Cost-matched means:
what each arm gives for the same money, good answers a dollar, where good is what scores say, or else that there was an
answer. A cheaper candidate is the better choice only once its answers are worse by five points at most. How intervals
are made is `interval`'s matter, what is measured `experiment`'s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from policies import interval
from policies.experiment import ARMS, ExperimentMode, Sample, Unit
from policies.interval import Interval, Mean, Sides, Sums

UNITS_LEAST: Final = 30
MARGIN: Final = 0.05  # so much worse the answers of a cheaper candidate may be, at most, for it to be the better choice
NANOS: Final = 1e9

MeasureName = Literal["cost_usd", "duration_s", "first_event_s", "answered", "escalated", "quality"]
Verdict = Literal["lower", "higher", "no difference shown", "too few"]


class Measure(NamedTuple):
    name: MeasureName
    of: Callable[[Sample], Sums | None]  # what a sample adds to it; None: nothing
    is_share: bool = False
    is_time: bool = False


class Side(Struct, frozen=True):
    """One arm. `value`: a mean a call, or a share of the calls; None: nothing was measured."""

    units: int = 0
    calls: int = 0
    value: float | None = None
    p50: float | None = None  # of times
    p95: float | None = None


class Row(Struct, frozen=True):
    """`difference`: the candidate's less the control's; `once` and `ever`: where it lies, at one look and at any."""

    measure: MeasureName
    control: Side
    candidate: Side
    difference: float | None = None
    once: tuple[float, float] | None = None
    ever: tuple[float, float] | None = None
    verdict: Verdict = "too few"


class Matched(Struct, frozen=True):
    """At equal cost. `times`: good answers a dollar of the candidate, by the control's; `ever`: at any look."""

    good: Literal["quality", "answered"]
    control_usd: float  # for a good answer
    candidate_usd: float
    times: float
    ever: tuple[float, float]
    verdict: Verdict


class Design(Struct, frozen=True):
    """As it is configured."""

    name: str
    control: str  # models
    candidate: str
    mode: ExperimentMode
    unit: Unit
    share: float


class Report(Struct, frozen=True):
    design: Design
    since: str | None  # of its first call
    rows: list[Row]  # no `escalated` where neither arm has
    matched: Matched | None
    conclusion: str
    truncated: bool = False  # only its latest calls were looked at


class Reports(Struct, frozen=True):
    """What GET /experiments answers."""

    rows: list[Report]


def _cost(sample: Sample) -> Sums | None:
    return None if sample.usd_nanos is None else (sample.usd_nanos / NANOS, sample.calls)


def _duration(sample: Sample) -> Sums | None:
    return None if sample.duration_s is None else (sample.duration_s, 1)


def _first_event(sample: Sample) -> Sums | None:
    return None if sample.first_event_s is None else (sample.first_event_s, 1)


def _answered(sample: Sample) -> Sums | None:
    return None if sample.answered is None else (sample.answered, 1)


def _escalated(sample: Sample) -> Sums | None:
    return (sample.escalated, 1) if sample.answered else None


def _quality(sample: Sample) -> Sums | None:
    return None if sample.score is None else (sample.score, 1)


MEASURES: Final = (
    Measure("cost_usd", _cost),
    Measure("duration_s", _duration, is_time=True),
    Measure("first_event_s", _first_event, is_time=True),
    Measure("answered", _answered, is_share=True),
    Measure("escalated", _escalated, is_share=True),
    Measure("quality", _quality, is_share=True),
)


def report(design: Design, samples: Iterable[Sample], *, since: str | None = None, truncated: bool = False) -> Report:
    tables, times = _tables(samples)
    rows = [_row(measure, tables[measure.name], times) for measure in MEASURES]
    found = {row.measure: row for row in rows}
    matched = _matched(tables, found)
    shown = [row for row in rows if row.measure != "escalated" or row.control.value or row.candidate.value]
    return Report(design, since, shown, matched, _conclusion(design, found, matched), truncated)


Table = Mapping[str, Sides]  # by unit
Times = Mapping[tuple[MeasureName, int], list[float]]
WIDTH: Final = 2 * len(MEASURES)  # of what one unit has in one arm: a sum of each measure, and over how many


def _tables(samples: Iterable[Sample]) -> tuple[Mapping[MeasureName, Table], Times]:
    units: dict[str, list[float]] = {}
    times: dict[tuple[MeasureName, int], list[float]] = defaultdict(list)
    for sample in samples:
        sums = units.get(sample.unit)
        if sums is None:
            sums = units[sample.unit] = [0.0] * (2 * WIDTH)
        arm = ARMS.index(sample.arm)
        for place, measure in enumerate(MEASURES):
            added = measure.of(sample)
            if added is None:
                continue
            at = arm * WIDTH + 2 * place
            sums[at] += added[0]
            sums[at + 1] += added[1]
            if measure.is_time:
                times[measure.name, arm].append(added[0])
    return {measure.name: _table(units, 2 * place) for place, measure in enumerate(MEASURES)}, times


def _table(units: Mapping[str, list[float]], at: int) -> Table:
    """Of one measure."""
    other = at + WIDTH
    return {unit: ((sums[at], sums[at + 1]), (sums[other], sums[other + 1])) for unit, sums in units.items()}


def _row(measure: Measure, table: Table, times: Times) -> Row:
    means = [interval.mean([sides[at] for sides in table.values()]) for at in (0, 1)]
    control, candidate = means
    here, there = [_side(found, times.get((measure.name, at), [])) for at, found in enumerate(means)]
    if control is None or candidate is None:
        return Row(measure.name, here, there)
    if measure.is_share:
        once, ever = interval.share_difference(control, candidate)
    else:
        common = interval.covariance(table.values(), control, candidate)
        once, ever = interval.difference(control, candidate, common)
    fewest, difference = min(control.units, candidate.units), candidate.value - control.value
    if fewest < 2:  # nothing is known of the spread
        return Row(measure.name, here, there, difference)
    verdict: Verdict = "too few" if fewest < UNITS_LEAST else _verdict(ever, 0.0)
    return Row(measure.name, here, there, difference, once, ever, verdict)


def _side(found: Mean | None, times: list[float]) -> Side:
    if found is None:
        return Side()
    ranked = sorted(times)
    p50, p95 = [ranked[int(share * len(ranked))] if ranked else None for share in (0.5, 0.95)]
    return Side(found.units, int(found.calls), found.value, p50, p95)


def _verdict(ever: Interval, none: float) -> Verdict:
    if ever.high < none:
        return "lower"
    return "higher" if ever.low > none else "no difference shown"


def _matched(tables: Mapping[MeasureName, Table], rows: Mapping[MeasureName, Row]) -> Matched | None:
    scored = rows["quality"].verdict != "too few"
    good: Literal["quality", "answered"] = "quality" if scored else "answered"
    found = interval.ratio(tables[good], tables["cost_usd"])
    row, cost = rows[good], rows["cost_usd"]
    if found is None or cost.verdict == "too few" or row.verdict == "too few":
        return None
    here, there = _price(cost.control, row.control), _price(cost.candidate, row.candidate)
    return Matched(good, here, there, found[0], found[1], _verdict(found[1], 1.0))


def _price(cost: Side, good: Side) -> float:
    """USD for a good answer; of arms that have some."""
    return (cost.value or 0.0) / (good.value or 1.0)


# --- in words --------------------------------------------------------------------------------------------------------


def _conclusion(design: Design, rows: Mapping[MeasureName, Row], matched: Matched | None) -> str:
    cost = rows["cost_usd"]
    if matched is None:
        seen = min(cost.control.units, cost.candidate.units)
        return f"too early to tell: {seen} of {UNITS_LEAST} {design.unit}s in the smaller arm"
    good = rows[matched.good]
    said = f"the candidate {_of_cost(cost)}, and {_of_good(good)}; {_of_money(matched)}"
    return f"{said}. {_advice(cost.verdict, good, matched)}"


def _of_cost(row: Row) -> str:
    change = (row.difference or 0.0) / (row.control.value or 1.0)
    if row.verdict == "lower":
        return f"costs {-change:.1%} less"
    if row.verdict == "higher":
        return f"costs {change:.1%} more"
    return "costs no more and no less, as far as is shown"


def _of_good(row: Row) -> str:
    low, high = (100 * limit for limit in row.ever or (0.0, 0.0))
    of_quality = row.measure == "quality"
    name = "its answers are good" if of_quality else "it answers"
    if row.verdict == "lower":
        return f"{name} less often, by {-high:.1f} to {-low:.1f} points"
    if row.verdict == "higher":
        return f"{name} more often, by {low:.1f} to {high:.1f} points"
    if not of_quality:
        return "no difference in answering was found"
    return (
        f"no difference in how often its answers are good was found (less often by {max(0.0, -low):.1f} points at most)"
    )


def _of_money(matched: Matched) -> str:
    low, high = matched.ever
    answers = "good answers" if matched.good == "quality" else "answers"
    return f"for the same money it gives {matched.times:.2f} times the {answers} ({low:.2f} to {high:.2f})"


def _advice(cost: Verdict, good: Row, matched: Matched) -> str:
    if matched.good == "answered":
        return "How good the answers are nobody has said."
    if good.verdict == "no difference shown" and cost == "lower" and (good.ever or (-1.0, 0.0))[0] < -MARGIN:
        return f"Go on until its answers are known to be worse by {100 * MARGIN:g} points at most."
    if (cost == "lower" and good.verdict != "lower") or (good.verdict == "higher" and cost != "higher"):
        return "It is the better choice."
    if cost == good.verdict == "no difference shown":
        return "No difference is shown."
    if cost == "lower" or good.verdict == "higher":
        return f"It is a trade: {'a' if matched.verdict == 'higher' else 'no'} gain at equal cost is shown."
    return "It is the worse choice."
