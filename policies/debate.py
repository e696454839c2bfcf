"""What a debate may cost at most, and how much of an answer the others are shown.

Every round after the first asks everyone again, with a prompt that has grown by one answer of each, cut to a fixed
length; so the worst case is known before the first model is asked. Nothing here knows what is held or said. Du et al.,
ICML 2024.
"""

from __future__ import annotations

import json
import re
from typing import Final

ANSWER_TOKENS_MAX: Final = 1_000  # of each answer that others are shown
BYTES_A_TOKEN: Final = 4
_BETWEEN: Final = "\n[...]\n"
_DEAR: Final = "audio image "  # words that make a hold reckon with dearer kinds of input, see `policies.budget`
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")  # JSON takes six bytes for each


def room_bytes(output_tokens_max: int) -> int:
    """For one answer in the prompt of the others, as JSON. Few answers take twice the usual bytes a token."""
    return BYTES_A_TOKEN * min(ANSWER_TOKENS_MAX, 2 * output_tokens_max) or BYTES_A_TOKEN * ANSWER_TOKENS_MAX


def longest(bytes_max: int) -> str:
    """What takes all of that room."""
    return _DEAR.ljust(bytes_max - 2, "x")[: bytes_max - 2]  # and its quotes


def shortened(text: str, bytes_max: int) -> str:
    """Its beginning and its end, where it is longer as JSON: at its end an answer says what it has come to."""
    text = _CONTROLS.sub(" ", text)
    size = _written(text)
    if size <= bytes_max:
        return text
    room = bytes_max * len(text) // size
    while True:  # ends: the room shrinks, and nothing fits any room
        half = max(0, room - len(_BETWEEN) - 4) // 2
        short = f"{text[:half]}{_BETWEEN}{text[len(text) - half :]}"
        if half == 0:
            return ""
        if _written(short) <= bytes_max:
            return short
        room = room * 9 // 10


def too_expensive(worst_usd_nanos: int, one_usd_nanos: int, ratio_max: float) -> bool:
    """By what one call costs at most. Where that is nothing, so is the debate."""
    return worst_usd_nanos > ratio_max * one_usd_nanos


def _written(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode())
