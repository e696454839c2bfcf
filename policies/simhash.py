"""Fingerprints of texts: those of texts that hardly differ differ in a few of their 64 bits, all others in about half.

Decides how alike two texts are, never what that means. Charikar, "Similarity estimation techniques from rounding
algorithms", STOC 2002; three bits as in Manku, Jain and Das Sarma, "Detecting near-duplicates for web crawling", WWW
2007. A text of few words has no fingerprint of that kind: one word more would change too much of it, so it counts as
near only to itself.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final

BITS: Final = 64
NEAR_BITS: Final = 3
WORDS_LEAST: Final = 12
WORDS_MAX: Final = 128  # half of them from either end
CHARS_MAX: Final = 4_096
LANE: Final = 9  # bits in which one of the 64 votes is counted: WORDS_MAX fits, twice
HIGHEST: Final = sum(1 << (LANE * bit + LANE - 1) for bit in range(BITS))

_WORD: Final = re.compile(r"[^\W\d_]+")


def fingerprint(text: str) -> int:
    """64 bits; 0 for a text without a word. Case, figures and punctuation do not count."""
    if len(text) > CHARS_MAX:
        text = text[: CHARS_MAX // 2] + text[-CHARS_MAX // 2 :]
    words: list[str] = _WORD.findall(text.lower())
    if len(words) < WORDS_LEAST:
        return _digest(" ".join(words)) if words else 0
    if len(words) > WORDS_MAX:
        words = words[: WORDS_MAX // 2] + words[-WORDS_MAX // 2 :]
    # All votes are counted at once, each in a lane of its own of one long integer.
    count = len(words)
    return _majority(sum(map(_lanes, words)), count)


def near(one: int, other: int) -> bool:
    return one != 0 and other != 0 and (one ^ other).bit_count() <= NEAR_BITS


def _majority(votes: int, count: int) -> int:
    """The bits for which more than half have voted: those whose lane overflows into its highest bit."""
    lifted = votes + _every_lane((1 << (LANE - 1)) - 1 - count // 2)
    return _packed((lifted & HIGHEST) >> (LANE - 1))


@lru_cache(maxsize=WORDS_MAX)
def _every_lane(value: int) -> int:
    return sum(value << (LANE * bit) for bit in range(BITS))


def _packed(spread: int) -> int:
    """The lowest bit of each lane: in binary text those digits stand LANE places apart."""
    return int(bin(spread | 1 << (LANE * BITS))[2:][::-LANE][:BITS][::-1], 2)


@lru_cache(maxsize=8_192)
def _lanes(word: str) -> int:
    digest = _digest(word)
    return sum((digest >> bit & 1) << (LANE * bit) for bit in range(BITS))


def _digest(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) or 1
