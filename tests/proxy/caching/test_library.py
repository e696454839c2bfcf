from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from policies.semantic import guard
from policies.semantic.nominate import LOOKED_AT
from proxy.caching import library
from proxy.caching.library import Library, Stored, missing, unit
from tests.proxy.caching.samples import kept

pytest.importorskip("numpy", reason="the extra headgate[semantic] is not installed")

MIB = 1024 * 1024


def stored(id: str, answer: str = "yes", **more: object) -> Stored:
    return Stored(id, guard.read("what is this"), answer, kept(**more))  # type: ignore[arg-type]  # by name


def put(
    shelves: Library, scope: bytes, entry: Stored, numbers: tuple[float, ...] = (1.0, 0.0), model: str = "m"
) -> None:
    vector = unit(numbers)
    assert vector is not None
    shelves.put(scope, vector, entry=entry, model=model)


def near(shelves: Library, scope: bytes, wall: float = 0.0, numbers: tuple[float, ...] = (1.0, 0.0)) -> list[str]:
    vector = unit(numbers)
    assert vector is not None
    return [entry.id for _, entry in shelves.near(scope, vector, wall)]


def test_nothing_leads_from_one_scope_to_another() -> None:
    shelves = Library(MIB)
    put(shelves, b"s", stored("a"))
    assert near(shelves, b"s") == ["a"]
    assert near(shelves, b"t") == []
    assert shelves.find("a") is not None
    assert shelves.find("b") is None


def test_what_has_expired_is_not_near_and_hides_nothing_that_is_fresh() -> None:
    shelves = Library(MIB)
    for number in range(2 * LOOKED_AT):
        put(shelves, b"s", stored(f"e{number}", until=100.0))
    put(shelves, b"s", stored("fresh", until=200.0), (1.0, 0.1))
    assert len(near(shelves, b"s", 99.0)) == LOOKED_AT
    assert near(shelves, b"s", 100.0) == ["fresh"]
    assert len(shelves) == 1
    assert near(shelves, b"s", 200.0) == []
    assert (len(shelves), shelves.size) == (0, 0)
    put(shelves, b"s", stored("new"))
    assert near(shelves, b"s") == ["new"]


@pytest.mark.parametrize(("numbers", "model"), [((1.0, 0.0), "m2"), ((1.0, 0.0, 0.0), "m")])
def test_another_model_or_embedder_empties_the_scope(numbers: tuple[float, ...], model: str) -> None:
    shelves = Library(MIB)
    put(shelves, b"s", stored("a"))
    put(shelves, b"t", stored("b"))
    put(shelves, b"s", stored("c"), numbers, model)
    assert near(shelves, b"s", numbers=numbers) == ["c"]
    assert near(shelves, b"t") == ["b"]
    assert shelves.find("a") is None


def test_the_least_used_scope_gives_way_where_room_is_short() -> None:
    one = stored("x", size=10_000)
    shelves = Library(3 * (one.kept.size + library.ENTRY_BYTES) + 1_000)
    put(shelves, b"s", stored("a", size=10_000))
    put(shelves, b"t", stored("b", size=10_000))
    shelves.scope(b"s")
    put(shelves, b"u", stored("c", size=10_000))
    put(shelves, b"v", stored("d", size=10_000))
    assert [near(shelves, scope) for scope in (b"s", b"t", b"u", b"v")] == [["a"], [], ["c"], ["d"]]
    assert (len(shelves), shelves.evicted) == (3, 1)
    assert shelves.size <= shelves.bytes_max


def test_less_room_lets_entries_go_and_none_of_them_leaves_a_byte() -> None:
    shelves = Library(MIB)
    for number in range(20):
        put(shelves, b"s", stored(f"e{number}"))
    shelves.resize(1)
    assert len(shelves) == 1
    assert near(shelves, b"s") == ["e19"], "the oldest go first"
    assert shelves.purge(None, None) == 1
    assert (len(shelves), shelves.size) == (0, 0)


def test_scopes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "SCOPES_MAX", 3)
    shelves = Library(MIB)
    for number in range(5):
        put(shelves, b"%d" % number, stored(f"e{number}"))
    assert [near(shelves, b"%d" % number) for number in range(5)] == [[], [], ["e2"], ["e3"], ["e4"]]


def test_a_large_scope_becomes_a_graph_or_loses_its_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "GRAPH_FROM", 4)
    monkeypatch.setattr(library, "GRAPH_MAX", 6)
    shelves = Library(MIB)
    for number in range(8):
        put(shelves, b"s", stored(f"e{number}"), (1.0, float(number)))
    scope = shelves.scope(b"s")
    assert scope is not None
    assert scope.graph == (find_spec("usearch") is not None)
    assert len(scope.entries) == (6 if scope.graph else 4)
    assert near(shelves, b"s", numbers=(1.0, 7.0))[0] == "e7"
    assert near(shelves, b"s", numbers=(1.0, 4.0))[0] == "e4"
    assert shelves.find("e0") is None


@pytest.mark.parametrize(
    ("agent", "route", "id", "left"),
    [("a", None, None, ["c"]), (None, "n", None, ["a", "c"]), (None, None, "c", ["a", "b"]), (None, None, None, [])],
)
def test_a_purge_takes_what_it_means(agent: str | None, route: str | None, id: str | None, left: list[str]) -> None:
    shelves = Library(MIB)
    put(shelves, b"s", stored("a"))
    put(shelves, b"t", stored("b", route="n"))
    put(shelves, b"s", stored("c", agent="z"))
    assert shelves.purge(agent, route, id) == 3 - len(left)
    assert sorted(near(shelves, b"s") + near(shelves, b"t")) == left


def test_same_answers_are_told_by_their_words() -> None:
    assert stored("a", "Yes.").answers_as(stored("b", "yes"))
    assert not stored("a", "yes").answers_as(stored("b", "no"))
    assert not stored("a", "x" * 200).answers_as(stored("b", "y" * 200)), "what cannot be told is not the same"


def test_what_is_not_installed_is_missing() -> None:
    assert missing(("there_is_no_such_package",))
    assert not missing(("msgspec",))


def test_a_gate_without_a_semantic_cache_never_loads_the_extra() -> None:
    code = "import sys, proxy.app, proxy.service, proxy.caching.semantic; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
