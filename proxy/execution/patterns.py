"""An operator's pattern, run over what a model has written: within a time that no text can stretch.

Implements `answers.Find`. A pattern that takes longer has found nothing. The library is loaded at the first look, in
some 30 ms: most gates have no pattern.
"""

from __future__ import annotations

from collections import deque
from importlib import import_module
from typing import Final

PATTERN_S: Final = 0.02


def last_match(pattern: str, text: str) -> str | None:
    """Its first group, or all of it where it has none; None: there is no match."""
    library = import_module("regex")
    try:
        last = deque(library.finditer(pattern, text, timeout=PATTERN_S), maxlen=1)
    except (TimeoutError, library.error):
        return None
    if not last:
        return None
    found: str | None = last[0][1] if last[0].re.groups else last[0][0]
    return found
