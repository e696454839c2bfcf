"""An operator's pattern, run over what a model has written: within a time that no text can stretch.

Implements `answers.Find`. A pattern that takes longer has found nothing.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import regex

PATTERN_S: Final = 0.02


def last_match(pattern: str, text: str) -> str | None:
    """Its first group, or all of it where it has none; None: there is no match."""
    try:
        last = deque(regex.finditer(pattern, text, timeout=PATTERN_S), maxlen=1)
    except (TimeoutError, regex.error):
        return None
    return (last[0][1] if last[0].re.groups else last[0][0]) if last else None
