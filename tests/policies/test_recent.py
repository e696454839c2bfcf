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
