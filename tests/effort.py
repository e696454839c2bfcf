"""How hard a test tries that has many cases: all under `make test` and in CI, a share of them in the fast suite.

The profile decides (`--hypothesis-profile full`); `tests/conftest.py` registers the two and takes the fast one. What a
test names is its full number, so that the share is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from hypothesis import settings

T = TypeVar("T")

FULL: Final = 100  # examples of a test that names no number
FAST: Final = 10


def examples(count: int) -> settings:
    """Of so many, as many as the profile in force wants."""
    return settings(max_examples=rounds(count), deadline=None)


def rounds(count: int) -> int:
    """Of so many, as many as the profile in force wants; for loops."""
    return max(1, count * settings.default.max_examples // FULL)


def some(cases: Sequence[T]) -> Sequence[T]:
    """All of them, or evenly spread as many as the profile in force wants; the first is always among them."""
    return cases[:: max(1, FULL // settings.default.max_examples)]
