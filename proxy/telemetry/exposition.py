"""The text of a whole table, in turns short enough to stand between two calls.

A scrape belongs to the event loop's thread, which alone touches the recorders: it reads all of them at one instant, so
every total in it is of the same moment, and then writes what has changed since the last scrape, some hundred lines a
turn. A child that has not moved keeps the text it had. Two scrapes may run at once: what a turn compares, it hands
over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar

from proxy.telemetry.family import PREFIX, Family
from proxy.telemetry.series import Histogram, Number, Series, Table, Values, readings, standing
from proxy.telemetry.text import Buckets, Format, HistogramText, NumberText, Read

NUMBERS_A_TURN = 128
HISTOGRAMS_A_TURN = 5  # of some 28 lines each

T_contra = TypeVar("T_contra", contravariant=True)
T = TypeVar("T")


class Text(Protocol[T_contra]):
    def write(self, read: T_contra) -> bytes: ...


class Exposition:
    """One table in one format."""

    def __init__(self, table: Table, format: Format) -> None:
        self._families: list[_Lines[float] | _Lines[Read]] = [
            _histograms(table.histograms[family.name], format)
            if family.ladder
            else _numbers(table.numbers[family.name], format)
            for family in table.families
        ]

    def __repr__(self) -> str:
        return f"Exposition({len(self._families)} families)"

    def turns(self, pieces: list[bytes]) -> Iterator[None]:
        """Reads the table now; each step then adds to `pieces` as much as one turn may take."""
        return in_order([family.turns(pieces) for family in self._families])


class _Lines(Generic[T]):
    """Of one family, as they were last written. `names`: the label values of some children, by their places in the
    order of birth; `read`: what all of them hold; `text`: makes what writes one."""

    __slots__ = ("_a_turn", "_heading", "_lines", "_names", "_read", "_shown", "_text", "_texts")

    def __init__(
        self,
        heading: bytes,
        names: Callable[[int, int], Sequence[Values]],
        *,
        read: Callable[[], list[T]],
        text: Callable[[Values], Text[T]],
        a_turn: int,
    ) -> None:
        self._heading = heading
        self._names = names
        self._read = read
        self._text = text
        self._a_turn = a_turn
        self._texts: list[Text[T]] = []
        self._shown: list[T | None] = []  # None: not yet
        self._lines: list[bytes] = []

    def turns(self, pieces: list[bytes]) -> Iterator[None]:
        return self._written(self._read(), pieces)

    def _written(self, now: list[T], pieces: list[bytes]) -> Iterator[None]:
        pieces.append(self._heading)
        for first in range(0, len(now), self._a_turn):
            fresh = now[first : first + self._a_turn]
            beyond = first + len(fresh)
            if beyond > len(self._lines):
                self._learn(beyond)
            changed = fresh != self._shown[first:beyond]
            if changed:
                self._rewrite(first, fresh)
            pieces += self._lines[first:beyond]
            if changed:
                yield

    def _learn(self, beyond: int) -> None:
        for values in self._names(len(self._lines), beyond):
            self._texts.append(self._text(values))
            self._shown.append(None)
            self._lines.append(b"")

    def _rewrite(self, first: int, fresh: list[T]) -> None:
        shown = self._shown
        for place, read in enumerate(fresh, first):
            if read != shown[place]:
                shown[place] = read
                self._lines[place] = self._texts[place].write(read)


def in_order(turns: list[Iterator[None]]) -> Iterator[None]:
    for each in turns:
        yield from each


def _numbers(series: Series[Number], format: Format) -> _Lines[float]:
    per_unit, names = series.family.per_unit, _label_names(series.family)
    return _Lines(
        _heading(series.family, format),
        series.names,
        read=partial(standing, series),
        text=lambda values: NumberText(series.shape.name, list(zip(names, values, strict=True)), per_unit),
        a_turn=NUMBERS_A_TURN,
    )


def _histograms(series: Series[Histogram], format: Format) -> _Lines[Read]:
    shape, names = series.shape, _label_names(series.family)
    buckets = Buckets(shape.name, shape.edge_texts, shape.per_unit, format.open)
    return _Lines(
        _heading(series.family, format),
        series.names,
        read=partial(readings, series),
        text=lambda values: HistogramText(buckets, list(zip(names, values, strict=True))),
        a_turn=HISTOGRAMS_A_TURN,
    )


def _heading(family: Family, format: Format) -> bytes:
    return format.heading(PREFIX + family.name, family.kind, family.help)


def _label_names(family: Family) -> tuple[str, ...]:
    return tuple([label.name for label in family.labels])
