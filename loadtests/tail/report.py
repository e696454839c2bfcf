"""One table for each scenario: a row a side, the figures to reach below, and whether the last side reaches them; or the
same over several seeds, where one alone may have been lucky."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean, pstdev

from .play import Played
from .scenarios import Scenario

FIXED = ("success", "p50", "p99/p50", "p99.9/p50", "calls")


def table(scenario: Scenario, played: Mapping[str, Played]) -> str:
    """`played`: by side, the one that is judged last."""
    more = [goal for goal in scenario.goals if goal.name not in FIXED]
    header = ["side", *FIXED, *(goal.name for goal in more)]
    rows = [header]
    for name, of in played.items():
        rows.append([name, *_fixed(of), *(_shown(goal.measure(of, played), goal.digits) for goal in more)])
    bounds = {goal.name: f"{goal.op} {goal.bound:g}" for goal in scenario.goals}
    rows.append(["target", *(bounds.get(name, "") for name in header[1:])])
    rows.append(["reached", *(_verdict(scenario, played, name) for name in header[1:])])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_line(row, widths) for row in rows]
    return "\n".join([f"{scenario.name}: {scenario.about}", *lines])


def spread(scenario: Scenario, plays: Sequence[Mapping[str, Played]]) -> str:
    """`plays`: by side, one a seed. Of each goal the mean, the standard deviation, and how many seeds reach it."""
    header = ["side", *(f"{goal.name} {goal.op} {goal.bound:g}" for goal in scenario.goals)]
    rows = [header]
    for side in plays[0]:
        row = [side]
        for goal in scenario.goals:
            values = [goal.measure(played[side], played) for played in plays]
            digits, reached = goal.digits + 1, sum(map(goal.met, values))
            spread = pstdev(values) if all(map(math.isfinite, values)) else math.nan
            row.append(f"{_shown(mean(values), digits)} +-{_shown(spread, digits)} {reached:3}")
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join([f"{scenario.name}: {scenario.about}; {len(plays)} seeds", *(_line(row, widths) for row in rows)])


def _line(row: list[str], widths: list[int]) -> str:
    cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
    return "  ".join([row[0].ljust(widths[0]), *cells[1:]])


def misses(scenario: Scenario, played: Mapping[str, Played]) -> list[str]:
    """The goals that the last side does not reach."""
    judged = list(played.values())[-1]
    return [goal.name for goal in scenario.goals if not goal.met(goal.measure(judged, played))]


def _verdict(scenario: Scenario, played: Mapping[str, Played], name: str) -> str:
    if all(goal.name != name for goal in scenario.goals):
        return ""
    return "no" if name in misses(scenario, played) else "yes"


def _fixed(played: Played) -> list[str]:
    median = played.quantile(0.5)
    return [
        f"{played.success:.2%}",
        _shown(median, 2),
        _shown(played.quantile(0.99) / median, 1),
        _shown(played.quantile(0.999) / median, 1),
        f"{played.calls:.3f}",
    ]


def _shown(value: float, digits: int) -> str:
    return "never" if math.isinf(value) else f"{value:.{digits}f}" if not math.isnan(value) else "-"
