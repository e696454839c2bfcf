"""How hard a property test tries: in full under `make test` and in CI, with a share of that in the fast suite.

The profile decides (`--hypothesis-profile full`); `tests/conftest.py` registers the two and takes the fast one. What a
test names is its full number, so that the share is the same for all of them.
"""

from __future__ import annotations

from typing import Final

from hypothesis import settings

FULL: Final = 100  # examples of a test that names no number
FAST: Final = 20


def examples(count: int) -> settings:
    """Of so many, as many as the profile in force wants."""
    return settings(max_examples=max(1, count * settings.default.max_examples // FULL), deadline=None)
