"""Recorders of the declared families, and their text.

A recorder is a plain number or list of counts, touched by the event loop's thread alone, without a lock: an event costs
a dictionary look-up and an addition. The scrape reads them from a thread of its own; only the birth of a child and the
scrape's copy of the children share a lock. Both text formats are written by `prometheus_client`.

Bounded twice: a family holds `FAMILY_SERIES_MAX` series, all of them `SERIES_MAX`. Above nine tenths of either, new
children are folded: their most variable label becomes `other`, then the next one, and the fold is counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Protocol, TypeVar

from msgspec import Struct
from prometheus_client import Metric
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

from proxy.observed import Gaps
from proxy.telemetry.family import OTHER, PREFIX, Family
from proxy.telemetry.labels import Labels

FAMILY_SERIES_MAX = 6_000
SERIES_MAX = 28_000
FOLD_ABOVE = 0.9  # what is left belongs to the folded children
BINDINGS_MAX = 20_000  # remembered label values of one family; folded ones share children

Values = tuple[str, ...]


class Shape(Struct, frozen=True):
    """What the recorders of one family have in common."""

    name: str
    bucket_name: str
    edges: tuple[float, ...]  # in the unit that is recorded
    edge_texts: tuple[str, ...]  # in the unit that is exposed, with `+Inf`
    per_unit: int


def shape_of(family: Family) -> Shape:
    """Money is recorded in whole nano-dollars, so its edges are whole numbers too."""
    unit = family.per_unit
    return Shape(
        name=PREFIX + family.name,
        bucket_name=PREFIX + family.name + "_bucket",
        edges=family.ladder if unit == 1 else tuple(round(edge * unit) for edge in family.ladder),
        edge_texts=tuple(floatToGoString(edge) for edge in (*family.ladder, float("inf"))),  # type: ignore[no-untyped-call]  # the client leaves it so
        per_unit=unit,
    )


class Recorder(Protocol):
    def samples(self, shape: Shape, labels: dict[str, str]) -> Iterable[Sample]: ...


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

    def samples(self, shape: Shape, labels: dict[str, str]) -> Iterable[Sample]:
        return (Sample(shape.name, labels, self.now / shape.per_unit),)


class Histogram:
    """Counts between the edges; the count of all is their sum, so that the two always agree."""

    __slots__ = ("_edges", "counts", "exemplars", "sum")

    def __init__(self, shape: Shape) -> None:
        self._edges = shape.edges
        self.counts = [0] * (len(self._edges) + 1)
        self.sum: float = 0
        self.exemplars: list[tuple[str, float, float] | None] = [None] * len(self.counts)

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

    def samples(self, shape: Shape, labels: dict[str, str]) -> Iterable[Sample]:
        counts, total, exemplars, below = self.counts.copy(), self.sum, self.exemplars.copy(), 0
        for text, count, traced in zip(shape.edge_texts, counts, exemplars, strict=True):
            below += count
            exemplar = None
            if traced is not None:
                trace_id, value, wall = traced
                exemplar = Exemplar({"trace_id": trace_id}, value / shape.per_unit, wall)
            yield Sample(shape.bucket_name, {**labels, "le": text}, below, None, exemplar)
        yield Sample(shape.name + "_count", labels, below)
        yield Sample(shape.name + "_sum", labels, total / shape.per_unit)


class Room:
    """How many series exist, over all families."""

    __slots__ = ("lock", "used")

    def __init__(self) -> None:
        self.used = 0
        self.lock = Lock()

    def has(self, family_series: int, width: int, share: float) -> bool:
        return family_series + width <= FAMILY_SERIES_MAX * share and self.used + width <= SERIES_MAX * share


R = TypeVar("R", bound=Recorder)


class Series(dict[Values, R]):
    """One family: a dictionary from label values to their recorder, which is made at the first look-up."""

    def __init__(self, family: Family, recorder: Callable[[Shape], R], room: Room, labels: Labels) -> None:
        super().__init__()
        self.family = family
        self.folds = 0
        self._recorder: Callable[[Shape], R] = recorder
        self._shape = shape_of(family)
        self._room = room
        self._labels = labels
        self._width = len(family.ladder) + 3 if family.ladder else 1  # edges, +Inf, count and sum
        self._children: dict[Values, R] = {}
        self._seen: tuple[set[str], ...] = tuple(set() for _ in family.labels)

    def __repr__(self) -> str:
        return f"Series({self.family.name}, {len(self._children)} children, {self.folds} folds)"

    def __missing__(self, values: Values) -> R:
        with self._room.lock:
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
        by_variety = sorted(range(len(values)), key=lambda place: -len(self._seen[place]))
        for place in by_variety:
            values = (*values[:place], OTHER, *values[place + 1 :])
            child = self._children.get(values)
            if child is not None:
                return child
            if self._has_room(1.0):
                return self._born(values)
        return self._born(values)  # `other` throughout: one more child, whatever the room

    def _has_room(self, share: float) -> bool:
        # One child more than this one must fit, for the fold of last resort.
        return self._room.has((len(self._children) + 1) * self._width, self._width, share)

    def _born(self, values: Values) -> R:
        child = self._children[values] = self._recorder(self._shape)
        self._room.used += self._width
        for seen, value in zip(self._seen, values, strict=True):
            seen.add(value)
        return child

    def children(self) -> list[tuple[Values, R]]:
        with self._room.lock:
            return list(self._children.items())

    def metric(self) -> Metric:
        family = self.family
        children = self.children()
        metric = Metric(PREFIX + family.name.removesuffix("_total"), family.help, family.kind)
        names = [label.name for label in family.labels]
        for values, child in children:
            metric.samples.extend(child.samples(self._shape, dict(zip(names, values, strict=True))))
        return metric


class Table:
    """All declared families as one collector for the client's registry."""

    def __init__(self, families: tuple[Family, ...], labels: Labels) -> None:
        room = Room()
        self.numbers = {family.name: Series(family, Number, room, labels) for family in families if not family.ladder}
        self.histograms = {family.name: Series(family, Histogram, room, labels) for family in families if family.ladder}
        self._families = families
        self._room = room

    def __repr__(self) -> str:
        return f"Table({len(self._families)} families, {self.size} series)"

    @property
    def size(self) -> int:
        return self._room.used

    def series(self, family: Family) -> Series[Number] | Series[Histogram]:
        return self.histograms[family.name] if family.ladder else self.numbers[family.name]

    def folds(self, name: str) -> Callable[[], float]:
        series = self.histograms[name] if name in self.histograms else self.numbers[name]
        return lambda: series.folds

    def collect(self) -> Iterable[Metric]:
        return [self.series(family).metric() for family in self._families]
