"""An operator's pattern, run over what a model has written: within a time that no text can stretch.

Implements `answers.Find`. A pattern that takes longer has found nothing.
"""

from __future__ import annotations

from typing import Final

import regex

PATTERN_S: Final = 0.02


def last_match(pattern: str, text: str) -> str | None:
    """Its first group, or all of it where it has none; None: there is no match."""
    last = None
    try:
        for last in regex.finditer(pattern, text, timeout=PATTERN_S):
            pass
    except (TimeoutError, regex.error):
        return None
    return None if last is None else last[1] if last.re.groups else last[0]
