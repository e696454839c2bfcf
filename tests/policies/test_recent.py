"""What is unused longest goes first, and no more is kept than allowed."""

from __future__ import annotations

from policies.recent import Recent


def test_the_longest_unused_is_forgotten_first() -> None:
    kept: Recent[str, list[int]] = Recent(2, list)
    kept.get("a").append(1)
    kept.get("b")
    assert kept.find("a") == [1]  # and used
    kept.get("c")
    assert (kept.find("a"), kept.find("b"), len(kept)) == ([1], None, 2)
    kept.find("c")
    kept.get("a")
    kept.get("d")
    assert (kept.find("a"), kept.find("c")) == ([1], None)
    assert repr(kept) == "Recent(2 of 2)"


def test_what_is_forgotten_is_gone_and_what_is_listed_is_not_used() -> None:
    kept: Recent[str, list[int]] = Recent(2, list)
    kept.get("a")
    kept.get("b").append(1)
    assert list(kept) == ["a", "b"]
    assert dict(kept.items()) == {"a": [], "b": [1]}
    kept.forget("b")
    kept.forget("nobody")
    assert list(kept) == ["a"]
    kept.get("c").append(3)
    assert list(kept.values()) == [[], [3]]
    kept.clear()
    assert (len(kept), kept.find("a")) == (0, None)
