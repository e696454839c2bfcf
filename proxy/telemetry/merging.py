"""The metrics of several processes as one: what has changed in one table, and a table that adds it up.

Counters and histograms travel as differences, so a process that starts again at nothing is no reset of the totals.
Gauges travel as they stand: those that count things add up over the processes that live, the others belong to the
process that owns the books and are not sent. What a process had open when it died is closed here for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat

from msgspec import Struct

from proxy.telemetry.family import OTHER, Family
from proxy.telemetry.series import Histogram, Table, Values, readings, standing
from proxy.telemetry.text import Exemplar, Read

Traced = tuple[int, str, float, float]  # bucket, trace id, value, wall


class Change(Struct, frozen=True, array_like=True):
    """Of one recorder. `value` is what was added to a counter or a sum; of a gauge, the whole."""

    family: str
    values: Values
    value: float
    counts: tuple[int, ...] = ()
    traced: tuple[Traced, ...] = ()


class Sender:
    """Tells what has changed since it was last asked."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._numbers: dict[str, list[float]] = {}
        self._histograms: dict[str, list[Read]] = {}

    def __repr__(self) -> str:
        return f"Sender({self._table!r})"

    def changes(self) -> tuple[Change, ...]:
        return (*self._of_numbers(), *self._of_histograms())

    def _of_numbers(self) -> Iterator[Change]:
        for name, series in self._table.numbers.items():
            if series.family.merge == "owner":
                continue
            now, before = standing(series), self._numbers.get(name, [])
            if now == before:
                continue
            self._numbers[name] = now
            whole = series.family.kind == "gauge"
            for values, value, then in zip(series.names(), now, chain(before, repeat(0)), strict=False):
                if value != then:
                    yield Change(name, values, value if whole else value - then)

    def _of_histograms(self) -> Iterator[Change]:
        for name, series in self._table.histograms.items():
            now, before = readings(series), self._histograms.get(name, [])
            if now == before:
                continue
            self._histograms[name] = now
            nothing: Read = [0] * (len(series.family.ladder) + 1), 0.0, []
            for values, read, then in zip(series.names(), now, chain(before, repeat(nothing)), strict=False):
                if read[0] != then[0]:
                    more = tuple([count - less for count, less in zip(read[0], then[0], strict=True)])
                    yield Change(name, values, read[1] - then[1], more, _traced(read[2], more))


class Merger:
    """Adds up what several processes send. `slot` names a process; its successor sends under the same name."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._gauges: dict[tuple[str, Values], dict[int, float]] = {}

    def __repr__(self) -> str:
        return f"Merger({len(self._gauges)} gauges)"

    def add(self, slot: int, changes: tuple[Change, ...]) -> None:
        for change in changes:
            if change.counts:
                _observe(self._table.histograms[change.family][change.values], change)
                continue
            series = self._table.numbers[change.family]
            child = series[change.values]
            if series.family.kind == "gauge":
                parts = self._gauges.setdefault((change.family, change.values), {})
                parts[slot] = change.value
                child.value = _merged(series.family, parts)
            else:
                child.value += change.value

    def forget(self, slot: int) -> None:
        """The process is gone. Calls that it had begun have ended by that, so that begun is ended and in flight."""
        for (name, values), parts in self._gauges.items():
            left = parts.pop(slot, 0)
            series = self._table.numbers[name]
            series[values].value = _merged(series.family, parts)
            if name == "in_flight_requests" and left > 0:
                self._table.numbers["requests_total"][values[0], OTHER, "proxy_error"].value += left


def _merged(family: Family, parts: dict[int, float]) -> float:
    if family.merge == "max":
        return max(parts.values(), default=0)
    if family.merge == "min":
        return min(parts.values(), default=0)
    return sum(parts.values())


def _traced(exemplars: list[Exemplar | None], more: tuple[int, ...]) -> tuple[Traced, ...]:
    found = ((bucket, exemplars[bucket]) for bucket, count in enumerate(more) if count)
    return tuple([(bucket, *traced) for bucket, traced in found if traced is not None])


def _observe(child: Histogram, change: Change) -> None:
    for bucket, count in enumerate(change.counts):
        child.counts[bucket] += count
    child.sum += change.value
    for bucket, trace_id, value, wall in change.traced:
        known = child.exemplars[bucket]
        if known is None or known[2] <= wall:
            child.exemplars[bucket] = (trace_id, value, wall)
