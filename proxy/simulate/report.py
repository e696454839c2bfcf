"""The figures of a simulation as a table: today's configuration, the candidate beside it, and what has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from proxy.simulate.figures import Figures, Spread

Row = tuple[str, ...]
ABSENT = "-"


class Line(NamedTuple):
    name: str
    of: Callable[[Figures], float | None]
    shown: str = "{:,.2f}"


LINES = (
    Line("calls", lambda side: side.calls, "{:,.0f}"),
    Line("answered", lambda side: side.answered, "{:.2%}"),
    Line("good answers", lambda side: side.good, "{:.2%}"),
    Line("cost, USD", lambda side: side.usd, "{:,.4f}"),
    Line("cost of a good answer, USD", lambda side: side.usd_a_good_answer, "{:.6f}"),
    Line("calls the gate made itself", lambda side: side.aside, "{:,.0f}"),
    Line("attempts a call", lambda side: side.attempts_a_call),
    Line("escalated", lambda side: side.escalated, "{:.2%}"),
    Line("input read from caches", lambda side: side.input_cached, "{:.2%}"),
)
SPREADS: tuple[tuple[str, Callable[[Figures], Spread]], ...] = (
    ("first event, s", lambda side: side.first_event_s),
    ("whole call, s", lambda side: side.duration_s),
    ("whole run, s", lambda side: side.run_s),
)


def report(today: Figures, candidate: Figures | None) -> tuple[Row, list[Row]]:
    """Header and rows."""
    sides = (today,) if candidate is None else (today, candidate)
    head = ("figure", "today") if candidate is None else ("figure", "today", "candidate", "change")
    return head, [*_lines(sides), *_spreads(sides), *_shares(sides), *_errors(sides)]


def _lines(sides: tuple[Figures, ...]) -> Iterator[Row]:
    for line in LINES:
        yield _row(line.name, [line.of(side) for side in sides], line.shown)


def _spreads(sides: tuple[Figures, ...]) -> Iterator[Row]:
    for name, spread in SPREADS:
        for part in ("p50", "p95", "p99"):
            values: list[float | None] = [getattr(spread(side), part) for side in sides]
            yield _row(f"{name}: {part}", values, "{:.2f}")


def _shares(sides: tuple[Figures, ...]) -> Iterator[Row]:
    for kind, of in (("served by", _served), ("answered by", _targets)):
        names = dict.fromkeys([name for side in sides for name in of(side)])
        for name in names:
            yield _row(f"{kind} {name}", [of(side).get(name, 0.0) for side in sides], "{:.2%}")


def _errors(sides: tuple[Figures, ...]) -> Iterator[Row]:
    for code in dict.fromkeys([code for side in sides for code in side.errors]):
        yield _row(f"error {code}", [side.errors.get(code, 0) for side in sides], "{:,.0f}")
    if any(side.unpriced for side in sides):
        yield _row("calls without a price", [side.unpriced for side in sides], "{:,.0f}")


def _served(side: Figures) -> dict[str, float]:
    return side.served_by


def _targets(side: Figures) -> dict[str, float]:
    return side.targets


def _row(name: str, values: list[float | None], form: str) -> Row:
    cells = [ABSENT if value is None else form.format(value) for value in values]
    return (name, *cells) if len(cells) == 1 else (name, *cells, _change(values[0], values[1]))


def _change(today: float | None, candidate: float | None) -> str:
    if today is None or candidate is None or not today:
        return ABSENT
    return f"{candidate / today - 1:+.1%}"
