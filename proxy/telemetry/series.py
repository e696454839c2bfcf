"""Recorders of the declared families.

A recorder is a plain number or list of counts, touched by the event loop's thread alone, without a lock: an event costs
a dictionary look-up and an addition. How they are written for a scrape stands in `exposition.py`.

Bounded twice: a family holds `FAMILY_SERIES_MAX` series, all of them `SERIES_MAX`. Above nine tenths of either, new
children are folded: their most variable label becomes `other`, then the next one, and the fold is counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, ItemsView, ValuesView
from itertools import islice
from typing import TypeVar

from msgspec import Struct

from proxy.observed import Gaps
from proxy.telemetry.family import OTHER, PREFIX, Family
from proxy.telemetry.labels import Labels
from proxy.telemetry.text import Exemplar, Read, go_text

FAMILY_SERIES_MAX = 6_000
SERIES_MAX = 28_000
FOLD_ABOVE = 0.9  # what is left belongs to the folded children
BINDINGS_MAX = 20_000  # remembered label values of one family; folded ones share children

Values = tuple[str, ...]


class Shape(Struct, frozen=True):
    """What the recorders of one family have in common."""

    name: str
    edges: tuple[float, ...]  # in the unit that is recorded
    edge_texts: tuple[str, ...]  # in the unit that is exposed, with `+Inf`
    per_unit: int


def shape_of(family: Family) -> Shape:
    """Money is recorded in whole nano-dollars, so its edges are whole numbers too."""
    unit = family.per_unit
    return Shape(
        name=PREFIX + family.name,
        edges=family.ladder if unit == 1 else tuple(round(edge * unit) for edge in family.ladder),
        edge_texts=tuple(go_text(edge) for edge in (*family.ladder, float("inf"))),
        per_unit=unit,
    )


class Number:
    """A counter or a gauge; `read` makes it ask its owner at each scrape."""

    __slots__ = ("read", "value")

    def __init__(self, _: Shape) -> None:
        self.value: float = 0
        self.read: Callable[[], float] | None = None

    def __repr__(self) -> str:
        return f"Number({self.now})"

    @property
    def now(self) -> float:
        """What its owner says, and what other processes have added."""
        return self.value if self.read is None else self.value + self.read()


class Histogram:
    """Counts between the edges."""

    __slots__ = ("_edges", "counts", "exemplars", "sum")

    def __init__(self, shape: Shape) -> None:
        self._edges = shape.edges
        self.counts = [0] * (len(self._edges) + 1)
        self.sum: float = 0
        self.exemplars: list[Exemplar | None] = [None] * len(self.counts)

    def __repr__(self) -> str:
        return f"Histogram({sum(self.counts)} observed, sum {self.sum})"

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._edges, value)] += 1
        self.sum += value

    def observe_traced(self, value: float, trace_id: str, wall: float) -> None:
        """The newest exemplar of each bucket is kept."""
        index = bisect_left(self._edges, value)
        self.counts[index] += 1
        self.sum += value
        self.exemplars[index] = (trace_id, value, wall)

    def add(self, gaps: Gaps) -> None:
        counts = self.counts
        for index, count in enumerate(gaps.counts):
            if count:
                counts[index] += count
        self.sum += gaps.sum_s

    def read(self) -> Read:
        return self.counts.copy(), self.sum, self.exemplars.copy()


class Room:
    """How many series exist, over all families."""

    __slots__ = ("used",)

    def __init__(self) -> None:
        self.used = 0

    def has(self, family_series: int, width: int, share: float) -> bool:
        return family_series + width <= FAMILY_SERIES_MAX * share and self.used + width <= SERIES_MAX * share


R = TypeVar("R", bound="Number | Histogram")


class Series(dict[Values, R]):
    """One family: a dictionary from label values to their recorder, which is made at the first look-up."""

    def __init__(self, family: Family, recorder: Callable[[Shape], R], room: Room, labels: Labels) -> None:
        super().__init__()
        self.family = family
        self.folds = 0
        self._recorder: Callable[[Shape], R] = recorder
        self.shape = shape_of(family)
        self._room = room
        self._labels = labels
        self._width = len(family.ladder) + 3 if family.ladder else 1  # edges, +Inf, count and sum
        self._children: dict[Values, R] = {}
        self._seen: tuple[set[str], ...] = tuple(set() for _ in family.labels)

    def __repr__(self) -> str:
        return f"Series({self.family.name}, {len(self._children)} children, {self.folds} folds)"

    def __missing__(self, values: Values) -> R:
        child = self._child(self._closed(values))
        if len(self) < BINDINGS_MAX:
            self[values] = child
        return child

    def _closed(self, values: Values) -> Values:
        """`values` with `other` for everything that is neither listed nor configured."""
        if len(values) != len(self.family.labels):
            raise ValueError(f"{self.family.name} has {len(self.family.labels)} labels, not {len(values)}")
        return tuple(
            value if self._labels.allow(label, value) else OTHER
            for label, value in zip(self.family.labels, values, strict=True)
        )

    def _child(self, values: Values) -> R:
        child = self._children.get(values)
        if child is not None:
            return child
        if self._has_room(FOLD_ABOVE):
            return self._born(values)
        self.folds += 1
        return self._folded(values)

    def _folded(self, values: Values) -> R:
        by_variety = sorted(range(len(values)), key=self._variety, reverse=True)
        for place in by_variety:
            values = (*values[:place], OTHER, *values[place + 1 :])
            child = self._children.get(values)
            if child is not None:
                return child
            if self._has_room(1.0):
                return self._born(values)
        return self._born(values)  # `other` throughout: one more child, whatever the room

    def _variety(self, place: int) -> int:
        return len(self._seen[place])

    def _has_room(self, share: float) -> bool:
        # One child more than this one must fit, for the fold of last resort.
        return self._room.has((len(self._children) + 1) * self._width, self._width, share)

    def _born(self, values: Values) -> R:
        child = self._children[values] = self._recorder(self.shape)
        self._room.used += self._width
        for seen, value in zip(self._seen, values, strict=True):
            seen.add(value)
        return child

    def children(self) -> ItemsView[Values, R]:
        """In the order of their birth, as the next two."""
        return self._children.items()

    def recorders(self) -> ValuesView[R]:
        return self._children.values()

    def names(self, first: int = 0, beyond: int | None = None) -> list[Values]:
        """The label values of those between."""
        return list(islice(self._children, first, beyond))


def standing(series: Series[Number]) -> list[float]:
    """What its children hold now. Most hold it themselves, and are not asked by a call."""
    return [child.value if child.read is None else child.now for child in series.recorders()]


def readings(series: Series[Histogram]) -> list[Read]:
    return [child.read() for child in series.recorders()]


class Table:
    """All declared families."""

    def __init__(self, families: tuple[Family, ...], labels: Labels) -> None:
        room = Room()
        self.numbers = {family.name: Series(family, Number, room, labels) for family in families if not family.ladder}
        self.histograms = {family.name: Series(family, Histogram, room, labels) for family in families if family.ladder}
        self.families = families
        self._room = room

    def __repr__(self) -> str:
        return f"Table({len(self.families)} families, {self.size} series)"

    @property
    def size(self) -> int:
        return self._room.used

    def series(self, family: Family) -> Series[Number] | Series[Histogram]:
        return self.histograms[family.name] if family.ladder else self.numbers[family.name]

    def folds(self, name: str) -> Callable[[], float]:
        series = self.histograms[name] if name in self.histograms else self.numbers[name]
        return lambda: series.folds
