from __future__ import annotations

import pytest

from proxy.execution.patterns import last_match


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (r"ANSWER: (\d+)", "ANSWER: 1 ANSWER: 2", "2"),
        (r"\d+", "1 22", "22"),
        (r"(?i)answer: (?P<it>.*)", "Answer: x\n", "x"),
        (r"\d", "none", None),
        (r"(a)|b", "ab", None),
        ("(", "text", None),
    ],
)
def test_the_last_match_counts(pattern: str, text: str, found: str | None) -> None:
    assert last_match(pattern, text) == found


def test_a_pattern_that_takes_long_has_found_nothing() -> None:
    assert last_match(r"(a|aa)+$", "a" * 60_000 + "b") is None
