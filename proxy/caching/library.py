"""The entries of the semantic cache, by scope.

Everything of one scope lies together, and nothing leads from one to another. The oldest entries of a scope give way
when it is full, those of the least used scope where room is short. The package for vectors is an extra, loaded where
the first entry is stored; `missing` says whether it is there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Final, Protocol

from policies.semantic.answer import same
from policies.semantic.confidence import Entry
from policies.semantic.guard import Features
from policies.semantic.lookup import Vector
from policies.semantic.nominate import LOOKED_AT, Known
from proxy.caching.kept import Kept, belongs

EXTRA: Final = "headgate[semantic]"
SCOPES_MAX: Final = 4_096
ENTRY_BYTES: Final = 2_000  # that an entry takes beside its reply and its vector
GRAPH_FROM, GRAPH_MAX = 20_000, 200_000  # entries of one scope
NUMBER_BYTES: Final = 4


class Index(Protocol):
    """Of the vectors of one scope: see `vectors.Vectors`."""

    dimensions: int

    @property
    def size(self) -> int: ...

    def row(self, at: int) -> Vector: ...

    def add(self, vector: Vector) -> int: ...

    def remove(self, at: int) -> None: ...

    def near(self, vector: Vector, count: int) -> list[tuple[int, float]]: ...


class Stored:
    """One question that was answered."""

    __slots__ = ("answer", "features", "id", "kept", "labels")

    def __init__(self, id: str, features: Features, answer: str, kept: Kept) -> None:
        self.id = id
        self.features = features
        self.answer = answer
        self.kept = kept
        self.labels = Entry()

    def __repr__(self) -> str:
        return f"Stored({self.id}, {self.labels!r}, {self.kept!r})"

    def answers_as(self, other: Known) -> bool:
        return isinstance(other, Stored) and same(self.answer, other.answer) is True


class Scope:
    """The entries of one scope, the oldest first. `model`: that all of them are from."""

    def __init__(self, index: Index, model: str) -> None:
        self.index = index
        self.model = model
        self.entries: dict[int, Stored] = {}
        self.graph = False  # the index is one

    def __repr__(self) -> str:
        return f"Scope({len(self.entries)} entries of {self.model!r})"


class Library:
    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._scopes: OrderedDict[bytes, Scope] = OrderedDict()
        self._of: dict[str, tuple[bytes, int]] = {}  # where each entry lies: its scope, and its number there
        self._size = 0  # of entries
        self.evicted = 0

    def __repr__(self) -> str:
        return f"Library({len(self)} entries, {len(self._scopes)} scopes, {self.size} bytes)"

    def __len__(self) -> int:
        return len(self._of)

    @property
    def size(self) -> int:
        """Bytes, without those of vectors' arrays that are still empty."""
        return self._size

    def resize(self, bytes_max: int) -> None:
        """What does not fit any more goes."""
        self.bytes_max = bytes_max
        self._bound()

    def scope(self, key: bytes) -> Scope | None:
        found = self._scopes.get(key)
        if found is not None:
            self._scopes.move_to_end(key)
        return found

    def near(self, key: bytes, vector: Vector, wall: float) -> list[tuple[float, Stored]]:
        """Those of a scope that are fresh, the nearest first. What is met and is not fresh any more goes."""
        scope = self.scope(key)
        while scope is not None and scope.entries:  # ends: each time entries go
            found = [(cosine, at) for at, cosine in scope.index.near(vector, LOOKED_AT) if at in scope.entries]
            stale = [at for _, at in found if scope.entries[at].kept.until_wall <= wall]
            if not stale:
                return [(cosine, scope.entries[at]) for cosine, at in found]
            for at in stale:
                self._drop(scope, at)
        if scope is not None:
            del self._scopes[key]
        return []

    def find(self, id: str) -> Stored | None:
        key, at = self._of.get(id, (b"", 0))
        return self._scopes[key].entries[at] if key else None

    def put(self, key: bytes, vector: Vector, *, entry: Stored, model: str) -> None:
        """A scope whose model has changed, or whose vectors have, begins anew."""
        scope, dimensions = self.scope(key), len(vector)
        if scope is not None and (scope.model != model or scope.index.dimensions != dimensions):
            self._forget(key)
            scope = None
        if scope is None:
            scope = self._scopes[key] = Scope(_index(dimensions), model)
        room = GRAPH_FROM if missing(("usearch",)) else GRAPH_MAX
        while len(scope.entries) >= room:
            self._evict(key, scope)
        if len(scope.entries) == GRAPH_FROM and not scope.graph:
            scope.index, scope.graph = _graph(scope, dimensions), True
        at = scope.index.add(vector)
        scope.entries[at] = entry
        self._of[entry.id] = (key, at)
        self._size += _size(entry) + dimensions * NUMBER_BYTES
        self._bound()

    def purge(self, agent: str | None, route: str | None, id: str | None = None) -> int:
        """How many are gone. All None: all of them."""
        gone = 0
        for key, scope in list(self._scopes.items()):
            for at, entry in list(scope.entries.items()):
                if belongs(entry.kept, agent, route) and id in (None, entry.id):
                    self._drop(scope, at)
                    gone += 1
            if not scope.entries:
                del self._scopes[key]
        return gone

    def _bound(self) -> None:
        """Ends: each time an entry goes; the one that was put last stays."""
        while len(self._of) > 1 and (self._size > self.bytes_max or len(self._scopes) > SCOPES_MAX):
            key = next(iter(self._scopes))
            self._evict(key, self._scopes[key])

    def _evict(self, key: bytes, scope: Scope) -> None:
        self._drop(scope, next(iter(scope.entries)))
        self.evicted += 1
        if not scope.entries and key != next(reversed(self._scopes)):
            del self._scopes[key]

    def _forget(self, key: bytes) -> None:
        scope = self._scopes.pop(key)
        for at in list(scope.entries):
            self._drop(scope, at)

    def _drop(self, scope: Scope, at: int) -> None:
        entry = scope.entries.pop(at)
        scope.index.remove(at)
        del self._of[entry.id]
        self._size -= _size(entry) + scope.index.dimensions * NUMBER_BYTES


def missing(packages: Iterable[str] = ("numpy",)) -> bool:
    """Whether the extra is not installed."""
    return any(find_spec(package) is None for package in packages)


def unit(numbers: Sequence[float]) -> Vector | None:
    """As the index wants it; None: it is no vector."""
    made: Vector | None = import_module("proxy.caching.vectors").unit(numbers)
    return made


def _size(entry: Stored) -> int:
    return entry.kept.size + len(entry.answer) + ENTRY_BYTES


def _index(dimensions: int) -> Index:
    made: Index = import_module("proxy.caching.vectors").Vectors(dimensions)
    return made


def _graph(scope: Scope, dimensions: int) -> Index:
    make: Callable[..., Index] = import_module("proxy.caching.graph").Graph
    return make(dimensions, [(at, scope.index.row(at)) for at in scope.entries])
