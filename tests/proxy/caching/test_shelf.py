from __future__ import annotations

from proxy.caching.shelf import Shelf
from tests.proxy.caching.samples import kept

EACH = kept(700).size  # 1,000 bytes


def test_what_was_asked_for_last_stays() -> None:
    shelf = Shelf(3 * EACH)
    for key in (b"a", b"b", b"c"):
        assert shelf.put(key, kept(700))
    assert shelf.get(b"a") is not None
    shelf.put(b"d", kept(700))
    assert [key for key in (b"a", b"b", b"c", b"d") if shelf.get(key)] == [b"a", b"c", b"d"]
    assert (len(shelf), shelf.size, shelf.evicted) == (3, 3 * EACH, 1)


def test_with_less_room_the_least_used_go_first() -> None:
    shelf = Shelf(3 * EACH)
    for key in (b"a", b"b", b"c"):
        shelf.put(key, kept(700))
    shelf.get(b"a")
    shelf.resize(2 * EACH)
    assert [key for key in (b"a", b"b", b"c") if shelf.get(key)] == [b"a", b"c"]
    assert shelf.evicted == 1
    shelf.resize(10 * EACH)
    assert len(shelf) == 2


def test_a_newer_answer_replaces_the_older_and_evicts_nothing() -> None:
    shelf = Shelf(2 * EACH)
    for _ in range(5):
        shelf.put(b"a", kept(700))
    assert (len(shelf), shelf.evicted) == (1, 0)


def test_what_is_larger_than_all_room_is_not_kept() -> None:
    shelf = Shelf(0)
    assert not shelf.put(b"a", kept(1))
    assert len(shelf) == shelf.evicted == 0


def test_a_purge_takes_what_all_of_it_is_true_of() -> None:
    shelf = Shelf(100 * EACH)
    for key, agent, route in ((b"1", "a", "m"), (b"2", "a", "n"), (b"3", "b", "m")):
        shelf.put(key, kept(1, agent=agent, route=route))
    assert shelf.purge("a", "n", None) == 1
    assert shelf.purge("a", None, b"3") == 0
    assert shelf.purge(None, None, b"3") == 1
    assert shelf.purge(None, None, None) == 1
    assert len(shelf) == 0
