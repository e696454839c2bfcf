"""Which of one agent's waiting calls goes first: that of the run which has had the least so far.

Nobody says how long a run will be; but one that has had little is more often near its end than one that has had much
(least attained service; Autellix, Luo et al., 2025, for programs of agents). Runs stand in classes: up to 50,000 cost
units, 100,000 more, and all beyond; in a class, the call goes first that came first. A call moves up a class each time
it has waited for so long as its caller says, so none is passed over for ever; the runs below one parent stand in the
class of the one that has had least, as the parent waits for all; and a client may name a call that others wait for. It
knows no agents (`fair_queue`) and no clock.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from heapq import heappop, heappush
from math import inf
from typing import Final, Generic, TypeVar

CLASS_UNITS: Final = 50_000.0  # of the first class
CLASSES: Final = 3  # more of them end short runs sooner still, and the longest a quarter later
AGES_AFTER: Final = 5.0  # times what a call takes there
RUNS_MAX: Final = 20_000

T = TypeVar("T")


def class_of(units: float) -> int:
    """From 0, those that have had least."""
    return min(CLASSES, int(units / CLASS_UNITS + 1.0).bit_length()) - 1


def rise_s(service_s: float, patience_s: float) -> float:
    """For how long a call waits in each class, where one takes `service_s`: who gives up after `patience_s` has been in
    the first class before."""
    return min(AGES_AFTER * service_s, patience_s / CLASSES)


class Attained:
    """What runs have had: those that were served last, in one process. Cost units."""

    def __init__(self, runs_max: int = RUNS_MAX) -> None:
        self._max = runs_max
        self._units: OrderedDict[str, float] = OrderedDict()

    def __repr__(self) -> str:
        return f"Attained({len(self._units)} runs)"

    def __len__(self) -> int:
        return len(self._units)

    def of(self, run: str) -> float:
        return self._units.get(run, 0.0)

    def add(self, run: str, units: float) -> None:
        self._units[run] = self.of(run) + units
        self._units.move_to_end(run)
        if len(self._units) > self._max:
            self._units.popitem(last=False)


class Place:
    """Where a call stands. `parent`: of its run, empty for none; `critical`: others wait for it, which is worth a
    class. `class_` changes while it waits, `from_` is where it began."""

    __slots__ = ("ahead", "class_", "due_at", "from_", "number", "parent", "rise_s", "units")

    def __init__(
        self, units: float = 0.0, now: float = 0.0, *, rise_s: float = inf, parent: str = "", critical: bool = False
    ) -> None:
        self.units = units
        self.class_ = self.from_ = max(0, class_of(units) - critical)
        self.rise_s = rise_s
        self.due_at = now + rise_s
        self.parent = parent
        self.number = 0  # in order of arrival
        self.ahead = 0  # calls of its agent that would have gone before it when it came

    def __repr__(self) -> str:
        return f"Place(class {self.class_}, {self.units:.0f} units, {self.ahead} ahead)"

    def __lt__(self, other: Place) -> bool:
        """Within a class."""
        return self.number < other.number


class LeastAttained(Generic[T]):
    """The calls of one agent that wait. One without a place stands in the first class, by its arrival."""

    __slots__ = ("_calls", "_classes", "_due", "_numbered", "_places", "_siblings")

    def __init__(self) -> None:
        self._places: dict[T, Place] = {}  # in order of arrival
        self._calls: dict[int, T] = {}  # by number
        self._classes: tuple[list[Place], ...] = tuple([[] for _ in range(CLASSES)])
        self._due: list[tuple[float, int]] = []  # a heap; those that have gone are passed over
        self._siblings: dict[str, set[Place]] = {}  # by parent
        self._numbered = 0

    def __repr__(self) -> str:
        return f"LeastAttained({[len(each) for each in self._classes]})"

    def __len__(self) -> int:
        return len(self._places)

    def add(self, call: T, place: Place | None = None) -> None:
        self._numbered += 1
        if place is None:
            place = Place()
        place.number = self._numbered
        self._places[call] = place
        self._calls[place.number] = call
        insort(self._classes[place.class_], place)
        if place.parent:
            self._join(place)
        if place.class_:
            heappush(self._due, (place.due_at, place.number))
        before = sum([len(each) for each in self._classes[: place.class_]])
        place.ahead = before + bisect_left(self._classes[place.class_], place)

    def first(self, now: float) -> T:
        """Of some."""
        self._age(now)
        return self._calls[next(each for each in self._classes if each)[0].number]

    def newest(self) -> T:
        """Of some."""
        return next(reversed(self._places))

    def remove(self, call: T) -> None:
        place = self._places.pop(call)
        del self._calls[place.number]
        self._unfile(place)
        if place.parent:
            siblings = self._siblings[place.parent]
            siblings.remove(place)
            if not siblings:
                del self._siblings[place.parent]
        if len(self._due) > 2 * len(self._places) + CLASSES:  # mostly of calls that have gone
            self._due = sorted([(each.due_at, each.number) for each in self._places.values() if each.class_])

    def _age(self, now: float) -> None:
        """Who has waited long enough moves up, with its siblings."""
        due = self._due
        while due and due[0][0] <= now:  # ends: each call moves up at most `CLASSES` times
            at, number = heappop(due)
            call = self._calls.get(number)
            place = None if call is None else self._places[call]
            if place is None or not place.class_ or place.due_at != at:
                continue
            self._lift(place, place.class_ - 1)
            for sibling in self._siblings.get(place.parent, ()):
                self._lift(sibling, place.class_)
            place.due_at = at + place.rise_s
            if place.class_:
                heappush(due, (place.due_at, number))

    def _join(self, place: Place) -> None:
        """All of one parent stand where the one stands that has had least."""
        siblings = self._siblings.setdefault(place.parent, set())
        for other in siblings:  # they all stand in one class
            self._lift(place, other.class_)
            if other.class_ <= place.class_:
                break
            self._lift(other, place.class_)
        siblings.add(place)

    def _lift(self, place: Place, class_: int) -> None:
        if class_ < place.class_:
            self._unfile(place)
            place.class_ = class_
            insort(self._classes[class_], place)

    def _unfile(self, place: Place) -> None:
        standing = self._classes[place.class_]
        del standing[bisect_left(standing, place)]
